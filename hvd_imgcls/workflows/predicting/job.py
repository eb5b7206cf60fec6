"""Description of a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls.config import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What to predict.

    Attributes:
        config: Defines preprocessing and test-time augmentation.
        model_path: A `.keras` file.
        class_names: `[num_classes]`.
        top_k: Number of classes listed per image.
        out_path: Output file; None to keep the predictions in memory only.
        piece_size: Images per piece of work, which is one batch of the model.
        is_trusted: Whether to load code in the model file.
    """

    config: RunConfig
    model_path: Path
    class_names: tuple[str, ...]
    top_k: int
    out_path: Path | None
    piece_size: int = 32
    is_trusted: bool = False
