"""The errors that users can cause, each with the exit code of the command line.

A message says what came in, what was expected and how to fix it, and names the
configuration key or the file. The command line prints the message alone, once,
whatever the number of ranks; a library user sees an ordinary exception.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


class HvdImgclsError(Exception):
    """Base of all errors of this package.

    Attributes:
        exit_code: What the command line exits with. See docs/exit-codes.md.
        is_of_all_ranks: Whether every rank raises the same, so that the root alone says it.
    """

    exit_code = 1
    is_of_all_ranks = False


class ConfigError(HvdImgclsError):
    """A configuration value, a command line or an argument is wrong.

    Args:
        key: Dotted configuration key, option, argument or file that is wrong.
        got: What came in.
        expected: What was expected, as a phrase.
        fix: What to do about it, as a phrase.
    """

    exit_code = 2

    def __init__(self, key: str, *, got: Any, expected: str, fix: str) -> None:
        self.key = key
        super().__init__(f"{key}: got {got!r}, expected {expected}; {fix}")


class SetupError(HvdImgclsError):
    """Something that must be installed on this machine is missing or does not fit.

    Args:
        problem: What is missing or wrong.
        fix: The command or the change that helps.
    """

    exit_code = 2

    def __init__(self, problem: str, *, fix: str) -> None:
        self.problem = problem
        self.fix = fix
        super().__init__(f"{problem}\n  to fix it: {fix}")


class RankMismatchError(HvdImgclsError):
    """The ranks do not hold the same thing where they must.

    Raised on every rank alike, since all of them compare the same gathered values.
    """

    exit_code = 2


class DataError(HvdImgclsError):
    """The data are missing, unreadable or not what the configuration says."""

    exit_code = 3


class BadImagesError(DataError):
    """Images that cannot be read were found, on all ranks alike."""

    is_of_all_ranks = True


class CheckpointError(HvdImgclsError):
    """A checkpoint or model file is missing, damaged or of another kind."""

    exit_code = 4


class PeerFailedError(HvdImgclsError):
    """This rank ends because another rank failed; the other one says why."""

    exit_code = 5


class HangError(HvdImgclsError):
    """A rank waited for the others for longer than is plausible."""

    exit_code = 6


class RootFailedError(HvdImgclsError):
    """What the root does for all ranks has failed; the root says why."""

    exit_code = 5
    is_of_all_ranks = True


class NonFiniteError(HvdImgclsError):
    """A gradient or the loss is not a finite number, and the training may not go on."""

    exit_code = 7
    is_of_all_ranks = True


@contextlib.contextmanager
def alike_on_all_ranks() -> Iterator[None]:
    """Marks errors of what every rank does with the same files: the root alone says them."""
    try:
        yield
    except HvdImgclsError as error:
        error.is_of_all_ranks = True
        raise


def first_line(error: BaseException) -> str:
    """Returns the first line of what somebody else's error says, its kind if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
