"""What a prediction is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls.config import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What is predicted.

    Attributes:
        config: Says how images are cut and looked at.
        model_path: A `.keras` file.
        class_names: `[num_classes]`.
        top_k: How many classes are told of an image.
        out_path: Where the predictions go.
        block_size: Images of a piece of the work, which is one batch of the model.
        is_trusted: Whether code in the model file may run.
    """

    config: RunConfig
    model_path: Path
    class_names: tuple[str, ...]
    top_k: int
    out_path: Path
    block_size: int = 32
    is_trusted: bool = False
