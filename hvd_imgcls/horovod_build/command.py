"""Command line of `hvd-imgcls install-horovod`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import FrameType

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.horovod_build.install import find_python, install_horovod
from hvd_imgcls.logs import Verbosity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command to a parser."""
    parser.description = (
        "Builds Horovod with our patches for the installed TensorFlow, installs it and tests "
        "it with two ranks. The wheel is stored in the user's cache. See docs/install.md."
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--mpi",
        dest="mpi",
        action="store_const",
        const=True,
        default=None,
        help="build with MPI as well; fails without mpicxx (default: if mpicxx is found)",
    )
    group.add_argument(
        "--without-mpi",
        dest="mpi",
        action="store_const",
        const=False,
        help="build with Gloo only",
    )
    parser.add_argument(
        "--gpu",
        choices=["nccl"],
        default=None,
        help="build with NCCL against the CUDA of tensorflow[and-cuda] (not yet run on a GPU)",
    )
    parser.add_argument(
        "--python",
        metavar="PATH",
        default=sys.executable,
        help="Python to install into (default: the one that runs this command)",
    )
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=int,
        default=None,
        help="number of files to compile in parallel (default: the number of cores)",
    )
    parser.add_argument(
        "--force", action="store_true", help="build and install even if the same build exists"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command.

    Returns:
        0, the exit code of the process.

    Raises:
        ConfigError: If an option is wrong.
        SetupError: If something is missing or a step fails.
    """
    num_jobs = len(os.sched_getaffinity(0)) if args.jobs is None else args.jobs
    if num_jobs < 1:
        raise ConfigError(
            "--jobs", got=num_jobs, expected="at least 1", fix="leave it out for all cores"
        )
    # The compilers run in a session of their own; this ends them together with this process.
    for signal_number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, _exit_on_signal)
    install_horovod(
        python=find_python(args.python),
        mpi=args.mpi,
        gpu=args.gpu,
        num_jobs=num_jobs,
        force=args.force,
        say=say if args.verbosity is not Verbosity.QUIET else _say_nothing,
    )
    return 0


def say(line: str) -> None:
    """Prints a line and flushes it, so that it appears at once in a pipe, too."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _say_nothing(_: str) -> None:
    """Replaces `say`."""


def _exit_on_signal(signal_number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + signal_number)
