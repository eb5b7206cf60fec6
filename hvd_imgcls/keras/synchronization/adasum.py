"""Adasum: all ranks apply the same adaptive sum of all gradients at every update."""

from __future__ import annotations

from hvd_imgcls.keras.synchronization.allreduce import Allreduce
from hvd_imgcls.keras.synchronization.mode import Formula


class Adasum(Allreduce):
    """Combines the gradients with `keras.communication.adasum`, one operation per group."""

    def formula(self) -> Formula | None:
        """Returns None: the sum is computed over a tree of ranks, for whole tensors."""
        return None
