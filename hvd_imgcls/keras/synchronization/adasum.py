"""Adasum: all ranks apply the same adaptive sum of all gradients at every update."""

from __future__ import annotations

from hvd_imgcls.keras.synchronization.allreduce import Allreduce
from hvd_imgcls.keras.synchronization.mode import Formula


class Adasum(Allreduce):
    """Combines the gradients with `keras.communication.adasum`, one operation per group."""

    def formula(self) -> Formula | None:
        """Returns None: the sum is computed over a tree of ranks, for whole tensors."""
        return None

    def bytes_sent(self, updates: int) -> int:
        """See `SynchronizationMode.bytes_sent`: every rank receives the gradients of all others."""
        return self.averaging.bytes_sent(updates) * self.size // 2
