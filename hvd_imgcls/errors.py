"""The exceptions of this package, each with its exit code on the command line.

Messages state what came, what was expected and how to fix it, and name the configuration
key or the file. The command line prints only the message, once for all ranks; library users
get an ordinary exception.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any


class HvdImgclsError(Exception):
    """Base class of all exceptions of this package.

    Attributes:
        exit_code: Exit code of the command line. See docs/exit-codes.md.
        is_of_all_ranks: Whether every rank raises the same error, so that only the root prints it.
    """

    exit_code = 1
    is_of_all_ranks = False


class ConfigError(HvdImgclsError):
    """A configuration value, command line or argument is invalid.

    Args:
        key: The invalid configuration key, option, argument or file.
        got: The given value.
        expected: What was expected, as a noun phrase.
        fix: What to do about it, as an imperative.
    """

    exit_code = 2

    def __init__(self, key: str, *, got: Any, expected: str, fix: str) -> None:
        self.key = key
        super().__init__(f"{key}: got {got!r}, expected {expected}; {fix}")


class SetupError(HvdImgclsError):
    """A required installation on this machine is missing or incompatible.

    Args:
        problem: What is missing or wrong.
        fix: The command or change that fixes it.
    """

    exit_code = 2

    def __init__(self, problem: str, *, fix: str) -> None:
        self.problem = problem
        self.fix = fix
        super().__init__(f"{problem}\n  to fix it: {fix}")


class RankMismatchError(HvdImgclsError):
    """The ranks hold different values where they must be equal.

    Raised on every rank, since all ranks compare the same gathered values.
    """

    exit_code = 2


class DataError(HvdImgclsError):
    """The data are missing, unreadable or inconsistent with the configuration."""

    exit_code = 3


class BadImagesError(DataError):
    """Corrupt images were found; raised on all ranks."""

    is_of_all_ranks = True


class CheckpointError(HvdImgclsError):
    """A checkpoint or model file is missing, damaged or of the wrong format."""

    exit_code = 4


class PeerFailedError(HvdImgclsError):
    """This rank exits because another rank failed; that rank reports the cause."""

    exit_code = 5


class HangError(HvdImgclsError):
    """A rank waited for the other ranks longer than is plausible."""

    exit_code = 6


class RootFailedError(HvdImgclsError):
    """An operation that the root performs for all ranks failed; the root reports the cause."""

    exit_code = 5
    is_of_all_ranks = True


class NonFiniteError(HvdImgclsError):
    """A gradient or the loss is NaN or infinite, and training may not continue."""

    exit_code = 7
    is_of_all_ranks = True


class FinishedError(HvdImgclsError):
    """There is nothing to do: the run was finished before the ranks were started again."""

    exit_code = 0
    is_of_all_ranks = True


class StoppedError(HvdImgclsError):
    """The run was asked to stop, and has saved its state; raised on all ranks.

    Args:
        by: The signal.
        step: Completed steps.
        saved: The checkpoint from which the run can be continued; None if there is none.
        problem: Why the last state could not be saved; empty if it was.
    """

    exit_code = 75
    is_of_all_ranks = True

    def __init__(
        self, by: signal.Signals, *, step: int, saved: str | None, problem: str = ""
    ) -> None:
        message = f"stopped by {by.name} after step {step:,}"
        if problem:
            message += f", which could not be saved: {problem}"
        if saved is None:
            self.exit_code = 128 + by
        else:
            message += f"; saved in {saved}: give the same command again to continue"
        super().__init__(message)


@contextlib.contextmanager
def alike_on_all_ranks() -> Iterator[None]:
    """Marks errors that every rank raises for the same files, so that only the root prints them."""
    try:
        yield
    except HvdImgclsError as error:
        error.is_of_all_ranks = True
        raise


def first_line(error: BaseException) -> str:
    """Returns the first line of an exception's message, or its type if the message is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
