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

from tests.support.fault_injection import VARIABLE
from tests.support.program import PIPELINE, Program, hvd_imgcls, running

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
) -> Outcome:
    """Runs a training with a fault; fails the test if it hangs or leaves processes."""
    with running_with_fault(
        directory, fault, size=size, options=options, environment=environment
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
) -> Iterator[Program]:
    """Starts a training with a fault that is still to come, and ends all of it afterwards."""
    words = [sys.executable, "-m", "tests.support.fault_injection", *_arguments(options)]
    more = {**ENVIRONMENT, **({VARIABLE: fault} if fault else {}), **(environment or {})}
    with running(words, size=size, cwd=directory, environment=more) as program:
        yield program


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


def run_to_the_end(directory: Path, *, size: int, options: Sequence[str]) -> Outcome:
    """Runs or continues a training to its end."""
    words = hvd_imgcls(*_arguments(options))
    with running(words, size=size, cwd=directory, environment=ENVIRONMENT) as program:
        outcome = ended(program, within=200)
    assert outcome.exit_code == 0, outcome.output
    return outcome


def _arguments(options: Sequence[str]) -> list[str]:
    return ["train", PIPELINE, "--run_dir=run", *options]


def result_of(directory: Path, outcome: Outcome) -> tuple[str, list[dict[str, object]]]:
    """Returns the hash of the weights, and the metrics of all epochs without times."""
    digest = re.search(r"identical on all ranks: yes \(\d+ x ([0-9a-f]+)\)", outcome.output)
    assert digest, outcome.output
    kept = ("epoch", "step", "loss", "accuracy", "val_loss", "val_top1", "learning_rate")
    lines = (directory / "run" / "metrics.jsonl").read_text().splitlines()
    epochs = [json.loads(line) for line in lines]
    return digest[1], [{key: epoch.get(key) for key in kept} for epoch in epochs]


@functools.cache
def twin(size: int, options: tuple[str, ...]) -> tuple[str, list[dict[str, object]]]:
    """Returns the result of a run that was never stopped."""
    with tempfile.TemporaryDirectory(prefix="twin-") as name:
        directory = Path(name)
        return result_of(directory, run_to_the_end(directory, size=size, options=options))
