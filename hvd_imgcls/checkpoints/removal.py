"""Removes directories of a checkpoint store."""

from __future__ import annotations

from pathlib import Path

from hvd_imgcls.checkpoints.disk import Disk
from hvd_imgcls.checkpoints.names import removing


def remove_checkpoint(path: Path, disk: Disk) -> None:
    """Removes a checkpoint. First its name, so that what is partly removed is never read.

    Args:
        path: The directory of the checkpoint.
        disk: The file system.

    Raises:
        OSError: If it cannot be renamed or removed.
    """
    renamed = path.with_name(removing(path.name))
    disk.rename(path, renamed)
    # Without this, the files could be gone after a power failure, and the old name be there again.
    disk.sync_directory(path.parent)
    remove_tree(renamed, disk)


def remove_tree(path: Path, disk: Disk) -> None:
    """Removes a file, a link, or a directory with everything in it. Follows no link.

    Args:
        path: What is removed.
        disk: The file system.

    Raises:
        OSError: If something cannot be removed.
    """
    if not disk.is_directory(path):
        disk.unlink(path)
        return
    for name in sorted(disk.names(path)):
        remove_tree(path / name, disk)
    disk.remove_directory(path)
