"""Callbacks for `model.fit`, with Horovod's names. All of them are collective."""

from hvd_imgcls.keras.callbacks.best_model import BestModelCheckpoint
from hvd_imgcls.keras.callbacks.broadcast import BroadcastGlobalVariablesCallback
from hvd_imgcls.keras.callbacks.learning_rate import (
    LearningRateScheduleCallback,
    LearningRateWarmupCallback,
)
from hvd_imgcls.keras.callbacks.metric_average import (
    MetricAverageCallback,
    metrics_over_ranks,
)
from hvd_imgcls.keras.callbacks.moving_statistics import AverageMovingStatisticsCallback

__all__ = [
    "AverageMovingStatisticsCallback",
    "BestModelCheckpoint",
    "BroadcastGlobalVariablesCallback",
    "LearningRateScheduleCallback",
    "LearningRateWarmupCallback",
    "MetricAverageCallback",
    "metrics_over_ranks",
]
