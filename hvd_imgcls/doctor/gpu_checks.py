"""Checks of GPUs: which ones are seen, whether ranks use them, and if not, why."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

from hvd_imgcls.doctor.check import Check, fail, ok, warning
from hvd_imgcls.horovod_build.local_ranks import RanksResult, run_on_local_ranks

_PROBES_DIR = Path(__file__).parent / "probes"
_FACTS_TIMEOUT_SECONDS = 120

_INSTALL_DRIVER = (
    "install the NVIDIA driver (Debian: sudo apt-get install nvidia-driver, from non-free), and in "
    "a container pass the GPUs on (docker run --gpus all)"
)
_INSTALL_TENSORFLOW = f"{sys.executable} -m pip install 'tensorflow[and-cuda]>=2.21,<2.22'"
_INSTALL_HOROVOD = "hvd-imgcls install-horovod --gpu nccl"

# CUDA_ERROR_NO_DEVICE.
_NO_DEVICE = "cuInit returned 100"


def gpu_facts(*, always_ask_tensorflow: bool) -> dict[str, Any]:
    """Returns the GPUs that the driver and TensorFlow see; see `probes/gpu_facts.py`.

    Args:
        always_ask_tensorflow: Whether to import TensorFlow, which takes seconds, even if the
            driver sees no GPU.
    """
    command = [sys.executable, str(_PROBES_DIR / "gpu_facts.py")]
    command += ["always"] if always_ask_tensorflow else []
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=_FACTS_TIMEOUT_SECONDS
    )
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return {"visible_devices": None, "driver": {"error": last[0]}}
    facts: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return facts


def check_driver(facts: dict[str, Any]) -> Check:
    """Checks that the NVIDIA driver sees a GPU."""
    name = "GPUs"
    visible = facts["visible_devices"]
    if visible is not None and visible.strip() in ("", "-1"):
        what = f"none is seen: CUDA_VISIBLE_DEVICES is {visible!r}, which hides all of them"
        return fail(name, what, "unset CUDA_VISIBLE_DEVICES")
    driver = facts["driver"]
    if driver["error"] == "no library":
        what = "none is seen: there is no NVIDIA driver (its libcuda.so.1 was not found)"
        return fail(name, what, _INSTALL_DRIVER)
    if driver["error"] == _NO_DEVICE or not (driver["error"] or driver["names"]):
        what = "none is seen: the NVIDIA driver is installed, but finds no GPU"
        return fail(name, what, "see what nvidia-smi says; in a container, pass the GPUs on")
    if driver["error"]:
        what = f"none is seen: the NVIDIA driver does not start, {driver['error']}"
        return fail(name, what, "see what nvidia-smi says; after an update of the driver, reboot")
    names = ", ".join(driver["names"])
    return ok(name, f"{len(driver['names'])}: {names}; driver for CUDA {driver['cuda_version']}")


def check_tensorflow(facts: dict[str, Any]) -> Check:
    """Checks that TensorFlow sees all GPUs that the driver sees."""
    name = "TensorFlow and GPUs"
    tensorflow = facts.get("tensorflow")
    if tensorflow is None:
        return fail(name, f"not known: {facts['driver']['error']}", _INSTALL_TENSORFLOW)
    if not tensorflow["is_cuda_build"]:
        return fail(name, "this TensorFlow is built without CUDA", _INSTALL_TENSORFLOW)
    num_seen, num_there = tensorflow["num_gpus"], len(facts["driver"].get("names", ()))
    if num_seen < num_there:
        what = f"TensorFlow sees {num_seen} of {num_there}: its CUDA libraries cannot be loaded"
        return fail(name, what, _INSTALL_TENSORFLOW)
    return ok(name, f"built with CUDA, sees {num_seen} GPUs")


def check_nccl(record: dict[str, Any] | None) -> Check:
    """Checks that the installed Horovod is built with NCCL."""
    name = "Horovod and GPUs"
    if record is None:
        return fail(name, "our build of Horovod is not installed", _INSTALL_HOROVOD)
    if not record["with_nccl"]:
        what = "built without NCCL: gradients would be copied to the CPU and added there"
        return fail(name, what, _INSTALL_HOROVOD)
    return ok(name, f"built with NCCL ({record['ingredients']['cuda']})")


def check_use(record: dict[str, Any], facts: dict[str, Any]) -> Check:
    """Reports whether ranks would use GPUs, and if not, why."""
    name = "GPUs"
    driver = check_driver(facts)
    if driver.fix:
        return ok(name, f"{driver.detail}. Ranks use the CPU")
    tensorflow = check_tensorflow(facts)
    if tensorflow.fix:
        return warning(name, f"{driver.detail}. {tensorflow.detail}", tensorflow.fix)
    if record["with_nccl"]:
        return ok(name, f"{driver.detail}. Test them with: hvd-imgcls doctor --gpu")
    what = f"{driver.detail}. Horovod is built without NCCL and adds gradients on the CPU"
    return warning(name, what, _INSTALL_HOROVOD)


def check_training(device: str, num_ranks: int, timeout_seconds: float) -> list[Check]:
    """Lets every rank add numbers and train in three precisions.

    Args:
        device: `GPU`, where local rank r uses GPU r, or `CPU`.
        num_ranks: Number of local ranks.
        timeout_seconds: Time after which the ranks are stopped.
    """
    result = run_on_local_ranks(
        sys.executable,
        _PROBES_DIR / "training.py",
        [device],
        num_ranks=num_ranks,
        controller="gloo",
        environment={},
        timeout_seconds=timeout_seconds,
    )
    if not result.report:
        return [fail(f"training on {device}", result.problem, f"run: {result.command}")]
    return [_allreduce_check(result), *_step_checks(result)]


def _allreduce_check(result: RanksResult) -> Check:
    report = result.report
    how = "NCCL" if report["device"] == "GPU" and report["nccl_built"] else "the CPU"
    name = f"allreduce over {report['size']} {report['device']}s by {how}"
    detail = f"{report['bytes'] / 1e6:.1f} MB in {report['allreduce_seconds'] * 1e3:.2f} ms"
    if report["num_wrong_sums"]:
        what = f"{report['num_wrong_sums']} of {report['size']} ranks have a wrong sum"
        return fail(name, what, f"run: {result.command}")
    return ok(name, f"{detail}, exact")


def _step_checks(result: RanksResult) -> list[Check]:
    checks = []
    for policy, step in result.report["steps"].items():
        name = f"training in {policy}"
        detail = f"{step['seconds'] * 1e3:.1f} ms per step, loss {step['loss']:.3f}"
        if not step["weights_are_equal"]:
            detail += ", the weights of the ranks differ"
        elif math.isfinite(step["loss"]):
            checks.append(ok(name, f"{detail}, weights equal on all ranks"))
            continue
        checks.append(fail(name, detail, f"run: {result.command}"))
    return checks
