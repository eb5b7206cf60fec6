"""The doctor's checks of GPUs. What a GPU would answer is written down, the rest is real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from hvd_imgcls.doctor import gpu_checks
from hvd_imgcls.doctor.check import Status
from hvd_imgcls.horovod_build.local_ranks import RanksResult

NO_DRIVER = {"error": "no library"}
TWO_GPUS = {"error": "", "cuda_version": "12.9", "names": ["NVIDIA H100", "NVIDIA H100"]}
RECORD = {"with_nccl": True, "ingredients": {"cuda": "nvidia-nccl-cu12 2.27.7"}}


def facts(
    driver: dict[str, Any], *, visible: str | None = None, **tensorflow: Any
) -> dict[str, Any]:
    return {"visible_devices": visible, "driver": driver, "tensorflow": tensorflow}


@pytest.mark.parametrize(
    ("driver", "visible", "reason", "fix"),
    [
        (NO_DRIVER, None, "there is no NVIDIA driver", "nvidia-driver"),
        (TWO_GPUS, "", "CUDA_VISIBLE_DEVICES is ''", "unset CUDA_VISIBLE_DEVICES"),
        (TWO_GPUS, "-1", "CUDA_VISIBLE_DEVICES is '-1'", "unset CUDA_VISIBLE_DEVICES"),
        ({"error": "cuInit returned 100"}, None, "finds no GPU", "nvidia-smi"),
        ({"error": "", "cuda_version": "12.9", "names": []}, None, "finds no GPU", "nvidia-smi"),
        ({"error": "cuInit returned 803"}, None, "cuInit returned 803", "reboot"),
    ],
)
def test_without_a_gpu_the_reason_is_named(
    driver: dict[str, Any], visible: str | None, reason: str, fix: str
) -> None:
    check = gpu_checks.check_driver(facts(driver, visible=visible))
    assert check.status is Status.FAIL
    assert "none is seen" in check.detail
    assert reason in check.detail
    assert fix in check.fix


def test_gpus_are_listed_with_the_driver() -> None:
    check = gpu_checks.check_driver(facts(TWO_GPUS))
    assert check.status is Status.OK
    assert check.detail == "2: NVIDIA H100, NVIDIA H100; driver for CUDA 12.9"


@pytest.mark.parametrize(
    ("is_cuda_build", "num_gpus", "reason"),
    [
        (False, 0, "built without CUDA"),
        (True, 1, "sees 1 of 2: its CUDA libraries cannot be loaded"),
    ],
)
def test_a_tensorflow_that_sees_too_few_gpus_fails(
    is_cuda_build: bool, num_gpus: int, reason: str
) -> None:
    found = facts(TWO_GPUS, is_cuda_build=is_cuda_build, num_gpus=num_gpus)
    check = gpu_checks.check_tensorflow(found)
    assert check.status is Status.FAIL
    assert reason in check.detail
    assert "tensorflow[and-cuda]" in check.fix


def test_tensorflow_is_not_blamed_for_a_missing_driver() -> None:
    check = gpu_checks.check_tensorflow(facts(NO_DRIVER, is_cuda_build=True, num_gpus=0))
    assert check.status is Status.OK
    assert check.detail == "built with CUDA, sees 0 GPUs"


def test_a_horovod_without_nccl_fails_with_the_command() -> None:
    for record in (None, {**RECORD, "with_nccl": False}):
        check = gpu_checks.check_nccl(record)
        assert check.status is Status.FAIL
        assert check.fix == "hvd-imgcls install-horovod --gpu nccl"
    assert gpu_checks.check_nccl(RECORD).status is Status.OK


def test_ranks_use_the_cpu_without_a_gpu_and_that_is_no_problem() -> None:
    check = gpu_checks.check_use(RECORD, facts(NO_DRIVER))
    assert check.status is Status.OK
    assert "no NVIDIA driver" in check.detail
    assert check.detail.endswith("Ranks use the CPU")


def test_a_gpu_that_horovod_does_not_use_is_a_warning() -> None:
    seen = facts(TWO_GPUS, is_cuda_build=True, num_gpus=2)
    check = gpu_checks.check_use({**RECORD, "with_nccl": False}, seen)
    assert check.status is Status.WARNING
    assert "--gpu nccl" in check.fix
    assert gpu_checks.check_use(RECORD, seen).status is Status.OK


def test_a_gpu_that_tensorflow_does_not_see_is_a_warning() -> None:
    unseen = facts(TWO_GPUS, is_cuda_build=True, num_gpus=0)
    check = gpu_checks.check_use(RECORD, unseen)
    assert check.status is Status.WARNING
    assert "sees 0 of 2" in check.detail
    assert "tensorflow[and-cuda]" in check.fix


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"loss": float("nan")}, "loss nan"),
        ({"weights_are_equal": False}, "the weights of the ranks differ"),
    ],
)
def test_a_training_that_went_wrong_fails(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], reason: str
) -> None:
    step = {"loss": 2.3, "seconds": 0.01, "weights_are_equal": True}
    report = {
        "size": 2,
        "device": "GPU",
        "nccl_built": True,
        "bytes": 4e6,
        "allreduce_seconds": 0.001,
        "num_wrong_sums": 1,
        "steps": {"float32": step, "mixed_float16": step | change},
    }
    result = RanksResult(problem="exit code 1", seconds=9.0, report=report, command="horovodrun")
    monkeypatch.setattr(gpu_checks, "run_on_local_ranks", lambda *_, **__: result)
    total, float32, float16 = gpu_checks.check_training("GPU", 2, 60.0)
    assert total.name == "allreduce over 2 GPUs by NCCL"
    assert "1 of 2 ranks have a wrong sum" in total.detail
    assert float32.status is Status.OK
    assert float16.status is Status.FAIL
    assert reason in float16.detail


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_ranks_train_in_three_precisions() -> None:
    checks = gpu_checks.check_training("CPU", 2, 280.0)
    assert [check.status for check in checks] == [Status.OK] * 4, checks
    assert checks[0].name == "allreduce over 2 CPUs by the CPU"
    assert [check.name for check in checks[1:]] == [
        "training in float32",
        "training in mixed_bfloat16",
        "training in mixed_float16",
    ]


def test_ranks_that_fail_are_reported_with_their_last_lines() -> None:
    (check,) = gpu_checks.check_training("TPU", 1, 120.0)
    assert check.status is Status.FAIL
    assert "exit code" in check.detail
    assert "training.py" in check.fix


@pytest.mark.timeout(200)
def test_the_command_says_why_there_is_no_gpu_and_exits_with_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hvd_imgcls.doctor", "--gpu", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 2, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["GPUs"]["status"] == "fail"
    assert "CUDA_VISIBLE_DEVICES is ''" in checks["GPUs"]["detail"]
    assert "training in float32" not in checks
