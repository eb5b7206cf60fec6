"""Two ranks of this machine add numbers with the installed Horovod, on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hvd_imgcls.horovod_build.local_ranks import run_on_local_ranks
from hvd_imgcls.horovod_build.target import probe_path

# Two TensorFlow starts on 2 busy cores were seen to take 30 s.
_TIMEOUT_SECONDS = 180


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTestResult:
    """The outcome of a self-test.

    Attributes:
        controller: `gloo` or `mpi`.
        problem: What went wrong, empty when nothing did.
        total_seconds: From launch to end, TensorFlow's start included.
        report: What the root measured; empty if it did not get that far.
        command: The command, for the user to repeat.
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
    result = run_on_local_ranks(
        python,
        probe_path("allreduce.py"),
        num_ranks=2,
        controller=controller,
        environment={"CUDA_VISIBLE_DEVICES": ""},
        timeout_seconds=timeout_seconds,
    )
    return SelfTestResult(
        controller=controller,
        problem=result.problem or _wrong_in(result.report, controller),
        total_seconds=result.seconds,
        report=result.report,
        command=result.command,
    )


def _wrong_in(report: dict[str, Any], controller: str) -> str:
    if report["size"] != 2:
        return f"{report['size']} ranks took part"
    if report["num_wrong_ranks"]:
        return f"{report['num_wrong_ranks']} ranks had a wrong sum"
    if not report[f"{controller}_enabled"]:
        return f"the ranks did not talk over {controller}"
    return ""
