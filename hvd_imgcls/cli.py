"""The command `hvd-imgcls`: arguments in, exit codes out.

Every command is imported only when it is asked for, so that `--help` and `plan` start
without TensorFlow. Under a launcher every rank runs this; what all of them would say alike
is said once. docs/exit-codes.md lists the exit codes.
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
from dataclasses import dataclass
from typing import NoReturn

from hvd_imgcls import __version__
from hvd_imgcls.environment.topology import launched_rank_and_size
from hvd_imgcls.errors import HvdImgclsError, PeerFailedError, RootFailedError
from hvd_imgcls.logs import Verbosity

INTERRUPTED = 130
USAGE_EXIT_CODE = 2
# When all ranks fail alike, the launcher ends the others soon after the root has ended.
WAIT_FOR_ROOT_SECONDS = 10.0
# The root has a traceback to print and to leave a training.
WAIT_FOR_FAILED_ROOT_SECONDS = 20.0


class UsageError(HvdImgclsError):
    """The command line does not say anything that can be done."""

    exit_code = USAGE_EXIT_CODE


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are exceptions, so that they are printed once."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n{self.format_usage().rstrip()}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """One command.

    Attributes:
        module: Where its `add_arguments(parser)` and `run(arguments)` are. `run` returns
            the exit code, or None for 0.
        help: One line for `--help`.
    """

    module: str
    help: str


COMMANDS = {
    "train": Command(
        module="hvd_imgcls.commands.train",
        help="train a pipeline, evaluate the model, write a run directory",
    ),
    "plan": Command(
        module="hvd_imgcls.commands.plan",
        help="what a run on any number of ranks would do, from arithmetic alone",
    ),
    "evaluate": Command(
        module="hvd_imgcls.commands.evaluate",
        help="exact metrics of a run or a model over all ranks",
    ),
    "predict": Command(
        module="hvd_imgcls.commands.predict",
        help="what a model takes images for, over all ranks, in the order of the images",
    ),
    "export": Command(
        module="hvd_imgcls.commands.export",
        help="a model for those who serve it: a SavedModel that takes encoded images",
    ),
    "report": Command(
        module="hvd_imgcls.commands.report",
        help="a page about a run, or one that compares several, to look at without network",
    ),
    "check-data": Command(
        module="hvd_imgcls.commands.check_data",
        help="look at every image over all ranks, name the bad ones, write a manifest",
    ),
    "show-data": Command(
        module="hvd_imgcls.commands.show_data",
        help="a picture of what the network will see, before and after augmentation",
    ),
    "statistics": Command(
        module="hvd_imgcls.commands.statistics",
        help="mean and deviation of the training images over all ranks, for data.normalization",
    ),
    "models": Command(
        module="hvd_imgcls.commands.models",
        help="all models by name, with their parameters and multiply-adds",
    ),
    "prepare": Command(
        module="hvd_imgcls.commands.prepare",
        help="image files into record files with an index, over all ranks",
    ),
    "bench": Command(
        module="hvd_imgcls.bench.command",
        help="benchmarks, each with its comparator in the same run",
    ),
    "doctor": Command(
        module="hvd_imgcls.doctor",
        help="is this machine ready? versions, Horovod, threads, network",
    ),
    "install-horovod": Command(
        module="hvd_imgcls.horovod_build.command",
        help="build and install Horovod for the TensorFlow at hand",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: Words after the program's name; those of this process when None.

    Returns:
        The exit code.

    Raises:
        HvdImgclsError: If the command fails in a way that is the user's to mend.
    """
    name, *words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if name not in COMMANDS:
        _make_overview().parse_args([name])
        return 0  # not reached: --help and --version leave by SystemExit
    # What TensorFlow's C++ code prints, on every rank; what goes wrong is raised as well.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1" if "--verbose" in words else "3")
    command = COMMANDS[name]
    module = importlib.import_module(command.module)
    parser = _Parser(
        prog=f"hvd-imgcls {name}",
        description=command.help,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_verbosity(parser)
    module.add_arguments(parser)
    others, overrides = _split_overrides(words, parser)
    arguments = parser.parse_args(others)
    if hasattr(arguments, "overrides"):
        arguments.overrides = overrides
    exit_code: int | None = module.run(arguments)
    return exit_code or 0


def run() -> NoReturn:
    """Runs the command line of this process and ends it: the console script."""
    sys.exit(exit_code_of(main, is_verbose="--verbose" in sys.argv))


def exit_code_of(action: Callable[[], int], *, is_verbose: bool = False) -> int:
    """Returns the exit code of an action; says once, whatever the number of ranks, why it failed.

    Args:
        action: What to do. Returns an exit code or raises.
        is_verbose: Whether to show where an error came from.
    """
    try:
        return action()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output (`| head`) has seen enough.
        sys.stderr.close()
        return 0
    except HvdImgclsError as error:
        if is_verbose:
            traceback.print_exc()
        _report(error)
        return error.exit_code
    except Exception as error:
        known = _as_known_error(error)
        if known is not None:
            _report(known)
            return known.exit_code
        rank, size = launched_rank_and_size()
        sys.stderr.write(f"{_prefix(rank, size)}unexpected error\n{traceback.format_exc()}")
        return 1


def _as_known_error(error: Exception) -> HvdImgclsError | None:
    """Returns the error behind one that TensorFlow raised, if it is one of ours.

    TensorFlow wraps what is raised inside a graph, and a rank sees the end of another one as
    a failed operation.
    """
    # Only if they are loaded: without them there are no other ranks, and loading takes seconds.
    proof = sys.modules.get("hvd_imgcls.keras.checks.consistency")
    failures = sys.modules.get("hvd_imgcls.distributed.failures")
    known: HvdImgclsError | None = None
    if proof is not None:
        known = proof.last_failure()
    if known is None and failures is not None:
        known = failures.as_peer_failure(error)
    return known


def _report(error: HvdImgclsError) -> None:
    """Prints an error on the rank that should say it, and on the others if it does not."""
    rank, size = launched_rank_and_size()
    if rank == 0:
        sys.stderr.write(f"error: {error}\n")
    elif not isinstance(error, PeerFailedError):
        # What fails before that: the source of the images, which every rank has opened.
        have_met = "hvd_imgcls.distributed" in sys.modules
        if error.is_of_all_ranks or error.exit_code == USAGE_EXIT_CODE or not have_met:
            # All ranks read the same file and command line: the root says the same now,
            # and the launcher ends this rank while it waits, with the same exit code.
            signal.signal(signal.SIGTERM, lambda *_: os._exit(error.exit_code))
            root_failed = isinstance(error, RootFailedError)
            time.sleep(WAIT_FOR_FAILED_ROOT_SECONDS if root_failed else WAIT_FOR_ROOT_SECONDS)
        sys.stderr.write(f"{_prefix(rank, size)}error: {error}\n")
    sys.stderr.flush()


def _prefix(rank: int, size: int) -> str:
    return f"[rank {rank}/{size}] " if size > 1 else ""


def _split_overrides(
    words: Sequence[str], parser: argparse.ArgumentParser
) -> tuple[list[str], list[str]]:
    """Takes `--key.path value` out of the words if the command knows overrides."""
    if parser.get_default("overrides") is None:
        return list(words), []
    from hvd_imgcls.config import split_overrides

    return split_overrides(words)


def _add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Adds `--verbose` and `--quiet`, which end up in `arguments.verbosity`."""
    group = parser.add_mutually_exclusive_group()
    for verbosity, told in (
        (Verbosity.VERBOSE, "every rank says everything, and where an error came from"),
        (Verbosity.QUIET, "say the result, warnings and errors alone"),
    ):
        group.add_argument(
            f"--{verbosity.value}",
            dest="verbosity",
            action="store_const",
            const=verbosity,
            default=Verbosity.NORMAL,
            help=told,
        )


def _make_overview() -> argparse.ArgumentParser:
    """Returns the parser of `hvd-imgcls --help`, which knows the commands' names alone."""
    parser = _Parser(
        prog="hvd-imgcls",
        description="Train image classifiers with Keras 3 and TensorFlow on many machines.",
        epilog="`hvd-imgcls COMMAND --help` tells more. On several ranks:\n"
        "  horovodrun -np 4 hvd-imgcls train pipelines/digits_cnn.yaml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hvd_imgcls {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.help)
    return parser
