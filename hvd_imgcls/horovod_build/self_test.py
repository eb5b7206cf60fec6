"""Two ranks on this machine add up numbers through the Horovod that was just built."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import Any

from hvd_imgcls.horovod_build.target import probe_path

# Two TensorFlow starts on 2 busy cores were seen to take 30 s.
_TIMEOUT_SECONDS = 180
# horovodrun gives its ranks 5 s to end before it kills them, twice.
_STOP_SECONDS = 15
# By way of -c, because `-m horovod.runner.launch` warns about importing itself twice.
_HOROVODRUN = "from horovod.runner.launch import run_commandline; run_commandline()"
_RESULT_PREFIX = "self-test "


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTestResult:
    """How a self-test ended.

    Attributes:
        controller: `gloo` or `mpi`.
        problem: What went wrong, empty when nothing did.
        total_seconds: From launch to end, TensorFlow's start included.
        report: What the root measured; empty when it did not come to that.
        command: What was run, for the user to repeat.
    """

    controller: str
    problem: str
    total_seconds: float
    report: dict[str, Any]
    command: str

    @property
    def is_good(self) -> bool:
        """Whether both ranks had the exact sum."""
        return not self.problem

    def describe(self) -> str:
        """Returns the outcome as one line."""
        if self.problem:
            return f"2 ranks over {self.controller}: {self.problem}"
        megabytes, milliseconds = self.report["bytes"] / 1e6, self.report["median_seconds"] * 1e3
        return (
            f"2 ranks over {self.controller} added {megabytes:.1f} MB exactly in "
            f"{milliseconds:.1f} ms (whole test {self.total_seconds:.0f} s)"
        )


def run_self_test(
    python: str, controller: str, *, timeout_seconds: float = _TIMEOUT_SECONDS
) -> SelfTestResult:
    """Starts two ranks through horovodrun and checks their sums.

    Args:
        python: Interpreter with TensorFlow and Horovod.
        controller: `gloo` or `mpi`: how the ranks talk to each other.
        timeout_seconds: Time after which the ranks are stopped and the test has failed.
    """
    command = [python, "-c", _HOROVODRUN, "-np", "2", "-H", "localhost:2", f"--{controller}"]
    command += [python, str(probe_path("allreduce.py"))]
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
    start = time.monotonic()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_seconds)
        problem = "" if process.returncode == 0 else f"exit code {process.returncode}"
    except subprocess.TimeoutExpired:
        output, problem = _stop(process), f"no answer within {timeout_seconds:.0f} s"
    report = _report_in(output)
    if not problem:
        problem = _wrong_in(report, controller)
    if problem and (tail := output.strip().splitlines()[-5:]):
        problem += "; its last lines:\n" + "\n".join("    " + line for line in tail)
    return SelfTestResult(
        controller=controller,
        problem=problem,
        total_seconds=time.monotonic() - start,
        report=report,
        command=shlex.join(command),
    )


def _stop(process: subprocess.Popen[str]) -> str:
    # horovodrun passes SIGTERM on to its ranks; were it killed at once, they would notice
    # only by the pipe to it.
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


def _wrong_in(report: dict[str, Any], controller: str) -> str:
    if not report:
        return "the root printed no result"
    if report["size"] != 2:
        return f"{report['size']} ranks took part"
    if report["num_wrong_ranks"]:
        return f"{report['num_wrong_ranks']} ranks had a wrong sum"
    if not report[f"{controller}_enabled"]:
        return f"the ranks did not talk over {controller}"
    return ""
