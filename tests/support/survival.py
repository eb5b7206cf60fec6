"""Runs that are killed and continued, and their twins that never were."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.fault_injection import VARIABLE
from tests.support.program import PIPELINE, Program, hvd_imgcls, launcher_words, running

OPTIONS = (
    "--train.num_epochs=4",
    "--train.lookahead={every_steps: 5}",
    "--evaluation.every_epochs=2",
    "--checkpoint.every_steps=10",
    "--logging={tensorboard: false, report: false}",
)
"""88 steps, 22 in an epoch."""

# Each rank on one thread: TensorFlow's sums are then the same every time.
ENVIRONMENT = {"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}
SECONDS = 100.0
ORPHAN_SECONDS = 15.0
_TIMES = ("data_wait_share", "rank_wait_share", "slowest_rank", "peak_memory_bytes")


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        exit_code: Of the launcher, or the only process.
        seconds: From the fault, or from the start if there was none.
        output: Of all processes.
    """

    exit_code: int
    seconds: float
    output: str


def run_with_fault(
    directory: Path,
    fault: str,
    *,
    size: int,
    options: Sequence[str],
    environment: Mapping[str, str] | None = None,
    launcher: str = "gloo",
) -> Outcome:
    """Runs a training with a fault; fails the test if it hangs or leaves processes."""
    with running_with_fault(
        directory, fault, size=size, options=options, environment=environment, launcher=launcher
    ) as program:
        program.wait_for_output("FAULT ", SECONDS)
        return ended(program)


@contextlib.contextmanager
def running_with_fault(
    directory: Path,
    fault: str,
    *,
    size: int,
    options: Sequence[str],
    environment: Mapping[str, str] | None = None,
    launcher: str = "gloo",
) -> Iterator[Program]:
    """Starts a training with a fault that is still to come, and ends all of it afterwards."""
    words = words_with_fault(options)
    more = {**ENVIRONMENT, **({VARIABLE: fault} if fault else {}), **(environment or {})}
    with running(words, size=size, cwd=directory, launcher=launcher, environment=more) as program:
        yield program


def words_with_fault(options: Sequence[str], *, size: int = 1) -> list[str]:
    """Returns the words of a command in which the faults of the environment happen."""
    words = [sys.executable, "-m", "tests.support.fault_injection", *_arguments(options)]
    return [*launcher_words("gloo", size), *words]


def ended(program: Program, *, within: float = SECONDS) -> Outcome:
    """Waits for the end of a program and of everything it started."""
    began = time.monotonic()
    exit_code = program.wait(within)
    seconds = time.monotonic() - began
    deadline = time.monotonic() + ORPHAN_SECONDS
    while left := program.processes():
        assert time.monotonic() < deadline, f"left over: {left}\n{program.output}"
        time.sleep(0.1)
    return Outcome(exit_code, seconds, program.output)


def run_to_the_end(
    directory: Path,
    *,
    size: int,
    options: Sequence[str],
    environment: Mapping[str, str] | None = None,
    launcher: str = "gloo",
) -> Outcome:
    """Runs or continues a training to its end."""
    words, more = hvd_imgcls(*_arguments(options)), {**ENVIRONMENT, **(environment or {})}
    with running(words, size=size, cwd=directory, launcher=launcher, environment=more) as program:
        outcome = ended(program, within=200)
    assert outcome.exit_code == 0, outcome.output
    return outcome


def _arguments(options: Sequence[str]) -> list[str]:
    pipeline = [] if options[0].endswith(".yaml") else [PIPELINE]
    return ["train", *pipeline, *options, "--run_dir=run"]


Result = tuple[str, dict[str, list[Any]]]


def result_of(directory: Path, outcome: Outcome) -> Result:
    """Returns the hash of the weights, and the files of metrics and bad images, without times."""
    digest = re.search(r"identical on all ranks: yes \(\d+ x ([0-9a-f]+)\)", outcome.output)
    assert digest, outcome.output
    files: dict[str, list[Any]] = {}
    for path in sorted((directory / "run").iterdir()):
        if path.suffix == ".csv":
            files[path.name] = path.read_text().splitlines()
        # The use of hosts and ranks is another in every run.
        if path.suffix == ".jsonl" and path.name not in ("launches.jsonl", "nodes.jsonl"):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            files[path.name] = [_without_times(line) for line in lines]
    assert files, outcome.output
    return digest[1], files


def _without_times(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if not _is_time(key)}


def _is_time(key: str) -> bool:
    return "second" in key or key in _TIMES


@functools.cache
def twin(size: int, options: tuple[str, ...]) -> Result:
    """Returns the result of a run that was never stopped."""
    with tempfile.TemporaryDirectory(prefix="twin-") as name:
        directory = Path(name)
        return result_of(directory, run_to_the_end(directory, size=size, options=options))
