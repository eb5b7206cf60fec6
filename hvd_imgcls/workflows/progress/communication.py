"""What the ranks have sent, and how far they have moved apart."""

from __future__ import annotations

from typing import Any

from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of


def communication_of(optimizer: Any) -> dict[str, Any]:
    """Returns entries of metrics.jsonl; see docs/run-directory.md. None on one rank.

    Args:
        optimizer: The optimizer of the model.
    """
    synchronizer = synchronizer_of(optimizer)
    if synchronizer is None or synchronizer.reduction.size == 1 or synchronizer.updates is None:
        return {}
    updates = max(1, int(synchronizer.updates))
    entries: dict[str, Any] = {
        "sent_bytes_per_step": round(synchronizer.mode.bytes_sent(updates) / updates)
    }
    entries.update(synchronizer.mode.chosen())
    drift = synchronizer.mode.drift()
    if drift is not None:
        entries["weight_drift"] = drift
    return entries
