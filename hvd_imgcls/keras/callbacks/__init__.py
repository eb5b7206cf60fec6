"""Callbacks for `model.fit`: those of Horovod, and wrappers for all others.

All of them are collective.
"""

from hvd_imgcls.keras.callbacks import fit_start
from hvd_imgcls.keras.callbacks.best_model import BestModelCheckpoint
from hvd_imgcls.keras.callbacks.broadcast import BroadcastGlobalVariablesCallback
from hvd_imgcls.keras.callbacks.checkpoint import Checkpoint
from hvd_imgcls.keras.callbacks.learning_rate import (
    LearningRateScheduleCallback,
    LearningRateWarmupCallback,
)
from hvd_imgcls.keras.callbacks.metric_average import (
    MetricAverageCallback,
    metrics_over_ranks,
)
from hvd_imgcls.keras.callbacks.moving_statistics import AverageMovingStatisticsCallback
from hvd_imgcls.keras.callbacks.non_finite import NonFiniteCallback
from hvd_imgcls.keras.callbacks.rank_safe import RankSafe, rank_safe

fit_start.install()

__all__ = [
    "AverageMovingStatisticsCallback",
    "BestModelCheckpoint",
    "BroadcastGlobalVariablesCallback",
    "Checkpoint",
    "LearningRateScheduleCallback",
    "LearningRateWarmupCallback",
    "MetricAverageCallback",
    "NonFiniteCallback",
    "RankSafe",
    "metrics_over_ranks",
    "rank_safe",
]
