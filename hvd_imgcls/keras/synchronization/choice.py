"""Selects the synchronization mode for the settings."""

from __future__ import annotations

from hvd_imgcls.distributed import ReduceOp
from hvd_imgcls.keras.synchronization.adasum import Adasum
from hvd_imgcls.keras.synchronization.allreduce import Allreduce
from hvd_imgcls.keras.synchronization.mode import SynchronizationMode
from hvd_imgcls.keras.synchronization.settings import ReductionSettings

MODES: dict[ReduceOp, type[SynchronizationMode]] = {
    ReduceOp.AVERAGE: Allreduce,
    ReduceOp.SUM: Allreduce,
    ReduceOp.ADASUM: Adasum,
}


def make_mode(settings: ReductionSettings, name: str) -> SynchronizationMode:
    """Returns the synchronization mode for these settings.

    Args:
        settings: Operation, compression and process set.
        name: Prefix of the names of its operations, the same on all ranks.
    """
    return MODES[settings.op](settings, name)
