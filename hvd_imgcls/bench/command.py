"""The command `hvd-imgcls bench NAME`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hvd_imgcls.bench import step

BENCHMARKS: dict[str, Callable[[int], dict[str, Any]]] = {"step": step.run}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("name", choices=sorted(BENCHMARKS), help=step.__doc__.splitlines()[0])
    parser.add_argument(
        "--pairs", type=int, default=9, help="alternating pairs to measure (default: 9)"
    )
    parser.add_argument("--out", type=Path, help="JSON file for the numbers and their conditions")


def run(arguments: argparse.Namespace) -> int:
    """Runs a benchmark, prints its verdicts and writes its numbers."""
    logger = logging.getLogger("hvd_imgcls")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.StreamHandler(sys.stdout))
    load_before = os.getloadavg()[0]
    logger.info("load of the machine before: %.2f", load_before)
    results = BENCHMARKS[arguments.name](arguments.pairs)
    conditions = {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "load_before": load_before,
        "python": platform.python_version(),
        **{name: version(name) for name in ("tensorflow", "keras", "horovod", "hvd_imgcls")},
    }
    if arguments.out:
        text = json.dumps({"conditions": conditions, "results": results}, indent=1)
        arguments.out.write_text(text + "\n", encoding="utf-8")
        logger.info("numbers and conditions are in %s", arguments.out)
    return 0


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
