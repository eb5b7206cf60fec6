"""`hvd-imgcls watch RUN [--once] [--interval SECONDS]`."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from pathlib import Path

from hvd_imgcls.environment.topology import launched_rank_and_size

_DEFAULT_SECONDS = 2.0
_LEAST_SECONDS, _MOST_SECONDS = 0.1, 3600.0
# The lines around the tables of ranks and hosts.
_OTHER_ROWS = 14


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `watch`."""
    parser.epilog = (
        "Reads only files, so it works from any machine that sees the run directory.\n"
        "In a terminal it redraws until the run ends; Ctrl-C ends it, and the run goes on."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory")
    parser.add_argument(
        "--once", action="store_true", help="print the state once; the default without a terminal"
    )
    parser.add_argument(
        "--interval",
        type=_seconds,
        default=_DEFAULT_SECONDS,
        metavar="SECONDS",
        help=f"time between two looks at the files (default: {_DEFAULT_SECONDS:g})",
    )


def run(arguments: argparse.Namespace) -> None:
    """Shows the run. Root only: a no-op elsewhere.

    Raises:
        ConfigError: If there is no run.
    """
    rank, _ = launched_rank_and_size()
    if rank != 0:
        return
    if arguments.once or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        _print(arguments.run)
    else:
        _redraw(arguments.run, arguments.interval)


def _print(path: Path) -> None:
    from hvd_imgcls.workflows.watch.reading import read_view
    from hvd_imgcls.workflows.watch.rendering import render

    for line in render(read_view(path)):
        sys.stdout.write(f"{line}\n")


def _redraw(path: Path, seconds: float) -> None:
    from hvd_imgcls.workflows.watch.reading import read_view
    from hvd_imgcls.workflows.watch.rendering import render
    from hvd_imgcls.workflows.watch.screen import Screen
    from hvd_imgcls.workflows.watch.state import state_of

    screen = Screen(sys.stdout)
    try:
        while True:
            view = read_view(path)
            screen.draw(render(view, max(2, (screen.size.lines - _OTHER_ROWS) // 2)))
            if state_of(view).has_ended:
                return
            time.sleep(seconds)
    except KeyboardInterrupt:
        return  # the way to end it


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not _LEAST_SECONDS <= value <= _MOST_SECONDS:
        raise argparse.ArgumentTypeError(
            f"{text} is not a number of seconds from {_LEAST_SECONDS:g} to {_MOST_SECONDS:g}"
        )
    return value
