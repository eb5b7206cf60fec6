"""What a run writes to be looked at."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Logging:
    """What a run writes to be looked at."""

    tensorboard: bool = True
    """Whether the run directory gets curves and pictures for TensorBoard.

    Loss and metrics, learning rate, throughput and waiting, some images of the first batch, some
    held-out images with what the model takes them for, and the confusion matrix.
    """

    report: bool = True
    """Whether the run directory gets `report.html`, a page of some 5 MB about the run."""
