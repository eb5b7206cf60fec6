"""Runs a script on several ranks of this machine through horovodrun."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# horovodrun gives its ranks 5 s to end before it kills them, twice.
_STOP_SECONDS = 15
# By way of -c, because `-m horovod.runner.launch` warns about importing itself twice.
_HOROVODRUN = "from horovod.runner.launch import run_commandline; run_commandline()"
_RESULT_PREFIX = "self-test "
# Of a launcher that has started this process: its ranks are others.
_OF_LAUNCHERS = re.compile(
    r"HOROVOD_(RANK|SIZE|(LOCAL|CROSS)_(RANK|SIZE)|HOSTNAME|CONTROLLER|CPU_OPERATIONS|GLOO_.*"
    r"|RENDEZVOUS_.*)|(OMPI|OPAL|PMIX|PMI|PRTE|MPI|SLURMD?)_.*"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RanksResult:
    """How a script on several ranks ended.

    Attributes:
        problem: What went wrong, with the last lines of the output. Empty when nothing did.
        seconds: From launch to end, TensorFlow's start included.
        report: What the root printed as JSON; empty if it did not get that far.
        command: The command, for the user to repeat.
    """

    problem: str
    seconds: float
    report: dict[str, Any]
    command: str


def run_on_local_ranks(
    python: str,
    script: Path,
    arguments: Sequence[str] = (),
    *,
    num_ranks: int,
    controller: str,
    environment: Mapping[str, str],
    timeout_seconds: float,
) -> RanksResult:
    """Starts ranks through horovodrun and waits for them.

    Args:
        python: Interpreter with TensorFlow and Horovod.
        script: What every rank runs. Its root prints `self-test {...}` on a line of its own.
        arguments: Arguments of the script.
        num_ranks: Number of ranks.
        controller: `gloo` or `mpi`: how the ranks talk to each other.
        environment: Variables in addition to those of this process.
        timeout_seconds: Time after which the ranks are stopped.
    """
    command = [python, "-c", _HOROVODRUN, "-np", str(num_ranks), "-H", f"localhost:{num_ranks}"]
    command += [f"--{controller}", python, str(script), *arguments]
    start = time.monotonic()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=dict(_without_launcher(os.environ), TF_CPP_MIN_LOG_LEVEL="3", **environment),
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_seconds)
        problem = "" if process.returncode == 0 else f"exit code {process.returncode}"
    except subprocess.TimeoutExpired:
        output, problem = _stop(process), f"no answer within {timeout_seconds:.0f} s"
    report = _report_in(output)
    if not problem and not report:
        problem = "the root printed no result"
    if problem:
        problem += last_lines_of(output)
    return RanksResult(
        problem=problem,
        seconds=time.monotonic() - start,
        report=report,
        command=shlex.join(command),
    )


def _without_launcher(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in environment.items() if not _OF_LAUNCHERS.fullmatch(name)}


def last_lines_of(output: str) -> str:
    """Returns the end of an output, to be put behind a problem."""
    tail = output.strip().splitlines()[-5:]
    return "; its last lines:\n" + "\n".join("    " + line for line in tail) if tail else ""


def _stop(process: subprocess.Popen[str]) -> str:
    # horovodrun passes SIGTERM on to its ranks. If it were killed at once, they would learn
    # of it only when they write to its pipe.
    process.send_signal(signal.SIGTERM)
    try:
        return process.communicate(timeout=_STOP_SECONDS)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0]


def _report_in(output: str) -> dict[str, Any]:
    for line in output.splitlines():
        # horovodrun and mpirun prefix each line with the rank.
        _, found, text = line.partition(_RESULT_PREFIX)
        if found and text.startswith("{"):
            report: dict[str, Any] = json.loads(text)
            return report
    return {}
