"""Which checkpoints are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hvd_imgcls.checkpoints.entry import Entry
from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.config.running.callbacks import mode_for
from hvd_imgcls.config.running.checkpoint import Checkpoint, KeepBest


def retain(store: CheckpointStore, section: Checkpoint) -> None:
    """Deletes the checkpoints that the configuration does not keep.

    Args:
        store: The checkpoints.
        section: The configuration.

    Raises:
        OSError: If one cannot be deleted.
    """
    keep = [] if section.keep_best is None else best_steps(store.entries(), section.keep_best)
    store.retain(section.keep_last, keep)


def best_steps(entries: Sequence[Entry], section: KeepBest) -> list[int]:
    """Returns the steps of the checkpoints with the best values of a metric, the best first.

    Args:
        entries: The checkpoints. Those without a finite value of the metric are left out.
        section: The metric, and how many.
    """
    sign = -1.0 if (section.mode or mode_for(section.metric)) == "max" else 1.0
    values = {entry.step: entry.facts.get("metrics", {}).get(section.metric) for entry in entries}
    known = {
        step: value
        for step, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
    return sorted(known, key=lambda step: (sign * known[step], step))[: section.count]
