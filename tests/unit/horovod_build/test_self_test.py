"""The self-test of two ranks: what it says when they do not come to an end."""

from __future__ import annotations

import sys
import time

import psutil
import pytest

from hvd_imgcls.horovod_build.sdist import VERSION
from hvd_imgcls.horovod_build.self_test import SelfTestResult, run_self_test
from hvd_imgcls.horovod_build.target import inspect_target


def test_a_python_without_horovod_fails_with_its_last_lines() -> None:
    result = run_self_test("/bin/false", "gloo", timeout_seconds=10)
    assert not result.is_good
    assert result.describe() == "2 ranks over gloo: exit code 1"


@pytest.mark.skipif(
    inspect_target(sys.executable).distributions["horovod"] != VERSION,
    reason="our Horovod is not installed",
)
def test_ranks_that_take_too_long_are_stopped_and_gone() -> None:
    start = time.monotonic()
    # Less than TensorFlow needs to be imported.
    result = run_self_test(sys.executable, "gloo", timeout_seconds=1.5)
    assert "no answer within 2 s" in result.problem
    assert time.monotonic() - start < 20
    here = psutil.Process()
    _, alive = psutil.wait_procs(here.children(recursive=True), timeout=5)
    assert not [process for process in alive if "allreduce.py" in " ".join(process.cmdline())]


def test_a_good_result_is_one_line_with_size_and_time() -> None:
    result = SelfTestResult(
        controller="mpi",
        problem="",
        total_seconds=12.3,
        report={"bytes": 4194304, "median_seconds": 0.0101},
        command="horovodrun",
    )
    assert result.is_good
    expected = "2 ranks over mpi added 4.2 MB exactly in 10.1 ms (whole test 12 s)"
    assert result.describe() == expected
