"""The `logging` section: TensorBoard files and the report."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Logging:
    """TensorBoard files and the report of a run."""

    tensorboard: bool = True
    """Whether to write TensorBoard summaries to the run directory.

    Loss and metrics, learning rate, throughput and waiting times, some images of the first batch,
    some held-out images with their predictions, and the confusion matrix.
    """

    report: bool = True
    """Whether to write `report.html` to the run directory: a self-contained page of about 5 MB."""
