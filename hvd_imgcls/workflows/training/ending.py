"""Writes into the run directory how a run ends, whatever ends it."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator

from hvd_imgcls import logs
from hvd_imgcls.errors import StoppedError, first_line
from hvd_imgcls.failures import process_state, root_cause
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.run_directory.status import State, write_status
from hvd_imgcls.workflows.training.run import Run


@contextlib.contextmanager
def recorded_end(run: Run) -> Iterator[None]:
    """Context manager that writes how the run ends, and its error into the log.

    Args:
        run: The run.
    """
    if not run.is_root:
        yield
        return
    process_state.write_end = functools.partial(_write, run.files, State.STOPPED)
    try:
        yield
    except KeyboardInterrupt:
        _write(run.files, State.STOPPED, "interrupted")
        raise
    except Exception as error:
        cause = root_cause(error) or error
        state = State.STOPPED if isinstance(cause, StoppedError) else State.FAILED
        logs.write_to_files(logging.ERROR, str(cause) or type(cause).__name__)
        _write(run.files, state, first_line(cause))
        raise
    finally:
        process_state.write_end = None
        if run.lock is not None:
            run.lock.release()


def _write(files: RunDir, state: State, message: str) -> None:
    # A directory that cannot be written to does not hide the error.
    with contextlib.suppress(OSError):
        write_status(files, state, message)
