"""Reports the progress of training: log, metrics, TensorBoard, summary."""

from hvd_imgcls.workflows.progress.callback import Progress, ProgressOutput
from hvd_imgcls.workflows.progress.last_step import StopAfterSteps
from hvd_imgcls.workflows.progress.record import EpochRecord, Record
from hvd_imgcls.workflows.progress.tensorboard import Board

__all__ = ["Board", "EpochRecord", "Progress", "ProgressOutput", "Record", "StopAfterSteps"]
