"""The trainer in Python: `from hvd_imgcls.train import train`."""

from hvd_imgcls.workflows.train import TrainResult, train

__all__ = ["TrainResult", "train"]
