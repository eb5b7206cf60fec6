"""Adasum: at every update all ranks apply the same adaptive sum of all gradients."""

from __future__ import annotations

from typing import Any

from hvd_imgcls.distributed import ReduceOp
from hvd_imgcls.keras.synchronization.allreduce import Allreduce
from hvd_imgcls.keras.synchronization.mode import Formula


class Adasum(Allreduce):
    """Combines the gradients by `keras.communication.adasum`, one operation for each group."""

    def formula(self) -> Formula | None:
        """Returns None: the sum is taken over a tree of ranks, for each tensor as a whole."""
        return None

    def _factors(self) -> dict[str, Any]:
        return {"op": ReduceOp.ADASUM}
