"""The `hvd-imgcls` command: parses the command line and returns exit codes.

A command's module is imported only when that command runs, so that `--help` and `plan` start
without TensorFlow. Under a launcher every rank runs this; an error that all ranks share is
printed once. docs/exit-codes.md lists the exit codes.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from hvd_imgcls.commands.arguments.argument_order import END_OF_OPTIONS, options_first
from hvd_imgcls.commands.arguments.parsing import (
    USAGE_EXIT_CODE,
    UsageError,
    make_overview,
    make_parser,
)
from hvd_imgcls.commands.command_list import COMMANDS
from hvd_imgcls.commands.surroundings import open_missing_streams, require_tensorflow
from hvd_imgcls.environment.topology import launched_rank_and_size
from hvd_imgcls.errors import (
    ConfigError,
    FinishedError,
    HvdImgclsError,
    PeerFailedError,
    RootFailedError,
    StoppedError,
    first_line,
)
from hvd_imgcls.failures import process_state, root_cause
from hvd_imgcls.interruption import leave, say_interrupted
from hvd_imgcls.text.printable import printable_text

INTERRUPTED = 130
# When all ranks fail with the same error, the launcher terminates them soon after the root exits.
WAIT_FOR_ROOT_SECONDS = 10.0
# The root needs longer: it prints a traceback and leaves the training loop first.
WAIT_FOR_FAILED_ROOT_SECONDS = 20.0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: Arguments after the program name. Defaults to those of this process.

    Returns:
        The exit code.

    Raises:
        HvdImgclsError: If the command fails because of the arguments, the data or the machine.
    """
    name, *words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if name not in COMMANDS:
        make_overview().parse_args([name])
        return 0  # not reached: --help and --version raise SystemExit
    # Silences TensorFlow's C++ log on every rank; failures are raised as exceptions as well.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1" if "--verbose" in words else "3")
    require_tensorflow()
    launched_rank_and_size()  # Raises an error for values that no launcher sets.
    module = importlib.import_module(COMMANDS[name].module)
    parser = make_parser(name, module)
    others, overrides = _split_overrides(words, parser)
    # What follows the options of a launcher is the command of the ranks, with options of its own.
    arranged = others if parser.get_default("is_launcher") else options_first(others, parser)
    if parser.get_default("overrides") is not None:
        _require_known_options(arranged, parser)
    arguments = parser.parse_args(arranged)
    if hasattr(arguments, "overrides"):
        arguments.overrides = overrides
    exit_code: int | None = module.run(arguments)
    return exit_code or 0


def run() -> NoReturn:
    """Runs the command line of this process and exits: the console script."""
    open_missing_streams()
    leave(exit_code_of(main, is_verbose="--verbose" in sys.argv))


def exit_code_of(action: Callable[[], int], *, is_verbose: bool = False) -> int:
    """Runs an action and returns its exit code; prints an error once, not once per rank.

    Args:
        action: Called without arguments. Returns an exit code or raises.
        is_verbose: Whether to print the traceback of an error.
    """
    try:
        return action()
    except KeyboardInterrupt:
        say_interrupted("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (`| head`) has closed the pipe.
        sys.stderr.close()
        return 0
    except HvdImgclsError as error:
        if is_verbose:
            traceback.print_exc()
        _report(error)
        return error.exit_code
    except Exception as error:
        known = root_cause(error)
        if known is not None:
            _report(known)
            return known.exit_code
        _report_unexpected(error, is_verbose=is_verbose)
        return 1


def _report(error: HvdImgclsError) -> None:
    """Prints an error on the rank responsible for it, and on the others if that one does not."""
    is_stopped = isinstance(error, StoppedError | FinishedError)
    text = f"{'' if is_stopped else 'error: '}{printable_text(str(error))}\n"
    try:
        rank, size = launched_rank_and_size()
    except ConfigError:  # This may be the error itself.
        rank, size = 0, 1
    if rank == 0:
        sys.stderr.write(text)
    elif not isinstance(error, PeerFailedError) and not is_stopped:
        # Before the ranks have joined, only the command line and the image source can have
        # failed, and every rank has read those.
        has_joined = process_state.has_joined_ranks
        if error.is_of_all_ranks or error.exit_code == USAGE_EXIT_CODE or not has_joined:
            # All ranks read the same file and command line: the root prints the same error,
            # and the launcher terminates this rank while it waits, with the same exit code.
            signal.signal(signal.SIGTERM, lambda *_: os._exit(error.exit_code))
            root_failed = isinstance(error, RootFailedError)
            time.sleep(WAIT_FOR_FAILED_ROOT_SECONDS if root_failed else WAIT_FOR_ROOT_SECONDS)
        sys.stderr.write(f"{_prefix(rank, size)}{text}")
    sys.stderr.flush()


def _report_unexpected(error: Exception, *, is_verbose: bool) -> None:
    """Prints an error of the disk in one line, and any other with its traceback."""
    rank, size = launched_rank_and_size()
    where = process_state.where()
    place = f" [{where}]" if where else ""
    if isinstance(error, OSError) and error.filename is not None and not is_verbose:
        reason = error.strerror or first_line(error)
        told = printable_text(f"error: {error.filename}: {reason}{place}\n")
    else:
        told = f"unexpected error{place}\n{printable_text(traceback.format_exc())}"
    sys.stderr.write(f"{_prefix(rank, size)}{told}")


def _prefix(rank: int, size: int) -> str:
    return f"[rank {rank}/{size}] " if size > 1 else ""


def _split_overrides(
    words: Sequence[str], parser: argparse.ArgumentParser
) -> tuple[list[str], list[str]]:
    """Separates `--key.path value` from the other arguments if the command accepts overrides."""
    if parser.get_default("overrides") is None:
        return list(words), []
    from hvd_imgcls.config import split_overrides

    end = _end_of_options(words)
    others, overrides = split_overrides(words[:end])
    return [*others, *words[end:]], overrides


def _end_of_options(words: Sequence[str]) -> int:
    return words.index(END_OF_OPTIONS) if END_OF_OPTIONS in words else len(words)


def _require_known_options(words: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Raises an error that names the key if an option is neither an option nor a whole key."""
    from hvd_imgcls.config.reading.problems import other_key

    known = {string for action in parser._actions for string in action.option_strings}
    for word in words[: _end_of_options(words)]:
        option = word.partition("=")[0]
        if option.startswith("--") and option not in known:
            meant = other_key(option.removeprefix("--"))
            if meant is not None:
                raise UsageError(f"unrecognized arguments: {option}; did you mean --{meant}?")
