"""What an export is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls.config import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportJob:
    """What is exported.

    Attributes:
        config: Says how images are cut and looked at.
        model_path: A `.keras` file.
        class_names: `[num_classes]`.
        directory: Where everything goes.
        formats: Names of `exporting.formats.FORMATS`.
        is_trusted: Whether code in the model file may run.
    """

    config: RunConfig
    model_path: Path
    class_names: tuple[str, ...]
    directory: Path
    formats: tuple[str, ...] = ()
    is_trusted: bool = False
