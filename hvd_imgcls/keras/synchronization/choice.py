"""Selects the synchronization mode for the settings."""

from __future__ import annotations

from hvd_imgcls.distributed import ReduceOp
from hvd_imgcls.keras.synchronization.adasum import Adasum
from hvd_imgcls.keras.synchronization.allreduce import Allreduce
from hvd_imgcls.keras.synchronization.delayed import Delayed
from hvd_imgcls.keras.synchronization.local_sgd import LocalSGD
from hvd_imgcls.keras.synchronization.mode import SynchronizationMode
from hvd_imgcls.keras.synchronization.settings import ReductionSettings
from hvd_imgcls.keras.synchronization.sharded import Sharded

MODES: dict[str, type[SynchronizationMode]] = {
    "allreduce": Allreduce,
    "delayed": Delayed,
    "local_sgd": LocalSGD,
}


def make_mode(settings: ReductionSettings, name: str) -> SynchronizationMode:
    """Returns the synchronization mode for these settings.

    Args:
        settings: Mode, operation, compression and process set.
        name: Prefix of the names of its operations, the same on all ranks.
    """
    if settings.shard_optimizer_state:
        return Sharded(settings, name)
    if settings.op == ReduceOp.ADASUM:
        return Adasum(settings, name)
    return MODES[settings.mode.name](settings, name)
