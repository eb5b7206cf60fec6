"""Description of an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls.config import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportJob:
    """What to export.

    Attributes:
        config: Defines preprocessing and test-time augmentation.
        model_path: A `.keras` file.
        class_names: `[num_classes]`.
        directory: Output directory.
        formats: Names in `exporting.formats.FORMATS`.
        is_trusted: Whether to load code in the model file.
    """

    config: RunConfig
    model_path: Path
    class_names: tuple[str, ...]
    directory: Path
    formats: tuple[str, ...] = ()
    is_trusted: bool = False
