"""The configuration of a run: schema, parsing and serialization of pipeline files."""

from hvd_imgcls.config.reading.loading import (
    fingerprint,
    load_config,
    parse_config,
    split_overrides,
    to_tree,
    to_yaml,
)
from hvd_imgcls.config.schema import DEFAULT_MAX_PIXELS, Resize, RunConfig

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "Resize",
    "RunConfig",
    "fingerprint",
    "load_config",
    "parse_config",
    "split_overrides",
    "to_tree",
    "to_yaml",
]
