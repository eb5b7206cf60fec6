"""The lock of a run directory: one command at a time writes there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import socket
import time
from pathlib import Path

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.files.outside import KIB, read_bytes

logger = logging.getLogger(__name__)

_NAME = ".lock"
_ATTEMPTS = 5
_PAUSE_SECONDS = 0.1


class RunLock:
    """Held from its creation until `release`, or the end of the process, whatever ends it.

    Args:
        directory: An existing run directory.
        key: The argument that names it, for messages.
        fix: How to choose another one, for messages.

    Raises:
        ConfigError: If another process holds it.
    """

    def __init__(
        self, directory: Path, key: str = "run_dir", fix: str = "choose another --run_dir"
    ) -> None:
        path = directory / _NAME
        self._descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666
        )
        try:
            self._take()
        except BlockingIOError:
            os.close(self._descriptor)
            raise ConfigError(
                key,
                got=f"{directory}, which {_holder(path)} is writing",
                expected="a directory that no other command writes",
                fix=f"wait until that one ends, or {fix}",
            ) from None
        except OSError as error:
            # Some network file systems have no locks.
            logger.info("note: %s cannot be locked: %s", directory, error.strerror)
        about = json.dumps({"host": socket.gethostname(), "process": os.getpid()})
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, about.encode(), 0)

    def _take(self) -> None:
        # `is_locked` holds it for a moment.
        for _ in range(_ATTEMPTS - 1):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(_PAUSE_SECONDS)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """Releases the lock."""
        os.close(self._descriptor)


def is_locked(directory: Path) -> bool:
    """Returns whether a process is writing to a run directory. Changes nothing."""
    try:
        descriptor = os.open(directory / _NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _holder(path: Path) -> str:
    """Returns who holds a lock, for messages."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        about = json.loads(read_bytes(path, KIB))
        return f"process {int(about['process'])} on {about['host']}"
    return "another process"
