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
        "it with two ranks. The wheel is kept in the user's cache. See docs/install.md."
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--mpi",
        dest="mpi",
        action="store_const",
        const=True,
        default=None,
        help="build with MPI too; an error without mpicxx (default: if mpicxx is found)",
    )
    group.add_argument(
        "--without-mpi",
        dest="mpi",
        action="store_const",
        const=False,
        help="build with Gloo alone",
    )
    parser.add_argument(
        "--gpu", choices=["nccl"], default=None, help="build for CUDA and NCCL (untried)"
    )
    parser.add_argument(
        "--python",
        metavar="PATH",
        default=sys.executable,
        help="the Python to install into (default: the one that runs this)",
    )
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=int,
        default=None,
        help="number of compilers at a time (default: the number of cores)",
    )
    parser.add_argument(
        "--force", action="store_true", help="build and install again even if it is there"
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
    # So that the compilers, which have a session of their own, are ended with us.
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
    """Prints a line at once, also into a pipe."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _say_nothing(_: str) -> None:
    """Takes the place of `say`."""


def _exit_on_signal(signal_number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + signal_number)
