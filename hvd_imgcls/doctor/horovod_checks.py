"""Checks of the installed Horovod: it is ours, was built for this TensorFlow, and works."""

from __future__ import annotations

import shutil
import sys
from typing import Any

from hvd_imgcls.doctor.check import Check, fail, ok, warning
from hvd_imgcls.horovod_build.sdist import VERSION
from hvd_imgcls.horovod_build.self_test import run_self_test
from hvd_imgcls.horovod_build.target import Target
from hvd_imgcls.horovod_build.toolchain import architecture_flags

_INSTALL = "hvd-imgcls install-horovod"
_REBUILD = "hvd-imgcls install-horovod --force"


def check_horovod_version(target: Target) -> Check:
    """Checks that the installed Horovod is our patched build."""
    name = "Horovod"
    version = target.distributions["horovod"]
    if version is None:
        return fail(name, "is not installed", _INSTALL)
    if version != VERSION or target.horovod_build_record is None:
        return fail(name, f"{version} is not our patched build {VERSION}", _INSTALL)
    return ok(name, version)


def check_built_for(target: Target) -> Check:
    """Checks that the installed Horovod was built for this TensorFlow, Python and CPU.

    Args:
        target: This Python, inspected with TensorFlow, with our Horovod installed.
    """
    name = "Horovod build"
    record = target.horovod_build_record or {}
    built: dict[str, str] = record.get("ingredients", {})
    here = {
        "tensorflow": str(target.distributions["tensorflow"]),
        "tensorflow_flags": " ".join(target.tensorflow_flags),
        "python": target.abi,
        "platform": target.platform,
    }
    for ingredient, value in here.items():
        if built.get(ingredient) != value:
            what = f"was built for {ingredient} {built.get(ingredient)}, but here it is {value}"
            return fail(name, what, _INSTALL)
    beyond = set(built.get("architecture_flags", "").split()) - set(architecture_flags())
    if beyond:
        what = f"uses instructions that this CPU does not have: {' '.join(sorted(beyond))}"
        return fail(name, what, _INSTALL)
    return ok(name, f"for TensorFlow {here['tensorflow']}, {target.abi}, {built['compiler']}")


def check_controllers(record: dict[str, Any]) -> list[Check]:
    """Lists what Horovod is built with, and looks for MPI's launcher."""
    parts = {"Gloo": record["with_gloo"], "MPI": record["with_mpi"], "NCCL": record["with_nccl"]}
    text = ", ".join(f"{part} {'yes' if built else 'no'}" for part, built in parts.items())
    checks = [ok("Horovod parts", text)]
    mpirun = shutil.which("mpirun")
    if record["with_mpi"] and mpirun is None:
        fix = "sudo apt-get install openmpi-bin, or use horovodrun --gloo"
        checks.append(warning("mpirun", "is not in PATH, though MPI is built", fix))
    elif record["with_mpi"]:
        checks.append(ok("mpirun", str(mpirun)))
    return checks


def check_allreduce(record: dict[str, Any], timeout_seconds: float) -> list[Check]:
    """Lets two local ranks add numbers, over Gloo and, if it is built, over MPI."""
    controllers = ["gloo"]
    if record["with_mpi"] and shutil.which("mpirun"):
        controllers.append("mpi")
    checks = []
    for controller in controllers:
        result = run_self_test(sys.executable, controller, timeout_seconds=timeout_seconds)
        name = f"allreduce over {controller}"
        if result.is_good:
            checks.append(ok(name, result.describe()))
        else:
            fix = f"{_REBUILD}; for the complete output: {result.command}"
            checks.append(fail(name, result.describe(), fix))
    return checks
