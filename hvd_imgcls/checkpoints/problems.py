"""What can be wrong with a checkpoint that is read: it is damaged, or cannot be read now."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.files.outside import UnsuitableFileError

_SIGNS_OF_DAMAGE = (errno.ENOTDIR, errno.EISDIR, errno.ELOOP)


class DamagedCheckpointError(CheckpointError):
    """A file of a checkpoint is missing, or is not what was written.

    Args:
        path: The file.
        problem: What is wrong with it.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


class UnreadableCheckpointError(CheckpointError):
    """A file of a checkpoint, or their directory, cannot be read now; it may be sound.

    Args:
        path: The file or directory.
        error: The error of the operating system.
    """

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"{path}: cannot be read ({error.strerror or error})")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns errors of the operating system into errors that name the file.

    Args:
        path: The file that is read in the `with` block.

    Raises:
        DamagedCheckpointError: If the file is missing, or is no regular file.
        UnreadableCheckpointError: After any other OSError.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise DamagedCheckpointError(path, "missing") from error
    except UnsuitableFileError as error:
        raise DamagedCheckpointError(path, str(error)) from error
    except OSError as error:
        if error.errno in _SIGNS_OF_DAMAGE:
            raise DamagedCheckpointError(path, str(error.strerror)) from error
        raise UnreadableCheckpointError(path, error) from error
