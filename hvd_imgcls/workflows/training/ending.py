"""Writes into the run directory how a run ends, whatever ends it."""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Iterator
from pathlib import Path

from hvd_imgcls import logs
from hvd_imgcls.errors import PeerFailedError, SetupError, StoppedError, first_line
from hvd_imgcls.failures import process_state, root_cause
from hvd_imgcls.run_directory.rank_failures import failure_of_another_rank, write_failure
from hvd_imgcls.run_directory.status import State, write_status
from hvd_imgcls.workflows.training.run import Run


@contextlib.contextmanager
def recorded_end(run: Run) -> Iterator[None]:
    """Context manager that writes how the run ends: its state, and the errors of the ranks.

    Args:
        run: The run.
    """

    def write_end(message: str, is_failure: bool) -> None:
        _write(run, State.FAILED if is_failure else State.STOPPED, message, None)

    process_state.write_end = write_end
    try:
        yield
    except KeyboardInterrupt:
        _write(run, State.STOPPED, "interrupted", None)
        raise
    except Exception as error:
        unwritable = _unwritable(run, error)
        cause = root_cause(error) or unwritable or error
        if isinstance(cause, StoppedError):
            _write(run, State.STOPPED, str(cause), cause)
        else:
            _write(run, State.FAILED, _described(run, cause), cause)
        if cause is unwritable:
            raise cause from error
        raise
    finally:
        process_state.write_end = None
        if run.lock is not None:
            run.lock.release()


def _unwritable(run: Run, error: Exception) -> SetupError | None:
    """Returns the error to raise instead if a file of the run directory cannot be written."""
    if not isinstance(error, OSError) or not isinstance(error.filename, str):
        return None
    if not Path(error.filename).absolute().is_relative_to(run.files.path.absolute()):
        return None
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    first = "free space there" if is_full else "make it writable"
    return SetupError(
        f"{error.filename} cannot be written: {error.strerror or first_line(error)}",
        fix=f"{first}, and give the same command again: it continues from the last checkpoint",
    )


def _described(run: Run, error: Exception) -> str:
    """Returns the message of an error with the position in the run, or that of the guilty rank."""
    if isinstance(error, PeerFailedError) and run.is_root:
        of_another = failure_of_another_rank(run.files)
        if of_another:
            return of_another
    where = process_state.where()
    return f"{str(error) or type(error).__name__}{f' [{where}]' if where else ''}"


def _write(run: Run, state: State, message: str, error: BaseException | None) -> None:
    if state is State.FAILED:
        write_failure(run.files, run.rank, message, error)
    if not run.is_root:
        return
    if error is not None:
        level = logging.ERROR if state is State.FAILED else logging.WARNING
        logs.write_to_files(level, message)
    # A directory that cannot be written to does not hide the error.
    with contextlib.suppress(OSError):
        write_status(run.files, state, message)
