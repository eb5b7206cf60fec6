"""Which checkpoints are kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hvd_imgcls.checkpoints.names import CheckpointName


def superfluous(
    found: Sequence[CheckpointName],
    newest_sound: CheckpointName,
    keep_last: int,
    keep: Collection[int],
) -> list[CheckpointName]:
    """Returns the checkpoints that may be removed, oldest first.

    Newer checkpoints than the newest sound one are damaged or cannot be read. They are neither
    counted nor removed.

    Args:
        found: The complete checkpoints.
        newest_sound: The newest of them that is sound; never removed.
        keep_last: How many checkpoints to keep, counted from the newest sound one.
        keep: Steps whose checkpoints are kept as well.
    """
    older = sorted(name for name in found if name <= newest_sound)
    latest_of_step = {name.step: name for name in older}
    kept = set(sorted(latest_of_step)[-keep_last:]) | set(keep)
    return [name for name in older if latest_of_step[name.step] != name or name.step not in kept]
