"""Waits on all ranks until the root has written a checkpoint."""

from __future__ import annotations

from hvd_imgcls.distributed.collectives import Collectives
from hvd_imgcls.saving.background import BackgroundWriter

_SECONDS_BETWEEN_MESSAGES = 0.5


def wait_together(writer: BackgroundWriter | None, collectives: Collectives) -> None:
    """Waits until nothing is being written.

    The ranks exchange messages meanwhile: a slow disk of the root is not taken for a hang.

    Collective: every rank must call this.

    Args:
        writer: On the root; elsewhere None.
        collectives: Communication between the ranks.

    Raises:
        Exception: On the root, what was raised in the thread of the writer.
    """
    while not collectives.broadcast_json(writer is None or writer.wait(_SECONDS_BETWEEN_MESSAGES)):
        pass
