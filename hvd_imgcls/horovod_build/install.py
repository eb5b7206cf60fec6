"""`install-horovod` from beginning to end."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from hvd_imgcls.errors import SetupError
from hvd_imgcls.horovod_build.cache_key import cache_key, key_ingredients
from hvd_imgcls.horovod_build.cuda_wheels import find_cuda_wheels
from hvd_imgcls.horovod_build.processes import Say, run_logged
from hvd_imgcls.horovod_build.sdist import VERSION
from hvd_imgcls.horovod_build.self_test import run_self_test
from hvd_imgcls.horovod_build.target import RUN_TIME_DISTRIBUTIONS, Target, inspect_target
from hvd_imgcls.horovod_build.toolchain import Toolchain, find_toolchain
from hvd_imgcls.horovod_build.wheel import cache_dir, find_or_build_wheel

# What setup.cfg requires. Other versions may work, but have not been tried.
_TENSORFLOW_SERIES = "2.21."
_INSTALL_TENSORFLOW = "-m pip install 'tensorflow>=2.21,<2.22'"


def install_horovod(
    *, python: str, mpi: bool | None, gpu: str | None, num_jobs: int, force: bool, say: Say
) -> None:
    """Builds Horovod for the TensorFlow of a Python, installs it there and tests it.

    Args:
        python: Path of the interpreter to install into.
        mpi: Whether to build with MPI. None: if `mpicxx` is found.
        gpu: `nccl` to build for CUDA and NCCL, or None.
        num_jobs: Number of files to compile in parallel.
        force: Build and install even if the same build exists.
        say: Prints a line.

    Raises:
        SetupError: If something is missing, a step fails, or the self-test does.
    """
    target = inspect_target(python)
    _require_tensorflow(target)
    _require_launcher(target)
    cuda = find_cuda_wheels(target) if gpu == "nccl" else None
    toolchain = find_toolchain(mpi=mpi, cuda=cuda)
    target = inspect_target(python, with_tensorflow=True)
    _say_what_is_built(target, toolchain, say)
    if not force and _is_installed(target, toolchain):
        say(f"Horovod {VERSION} is installed and was built for exactly this environment")
    else:
        wheel_path = find_or_build_wheel(
            target, toolchain, num_jobs=num_jobs, rebuild=force, say=say
        )
        _install_wheel(target, wheel_path, say)
    _test(python, toolchain, say)


def find_python(name: str) -> str:
    """Returns the path of an interpreter given by name or path.

    Links are not resolved: that of a virtual environment leads out of it.
    """
    path = shutil.which(name)
    if path is None:
        raise SetupError(
            f"there is no Python interpreter {name}", fix="choose an existing one with --python"
        )
    return os.path.abspath(path)


def _require_tensorflow(target: Target) -> None:
    if target.distributions["pip"] is None:
        raise SetupError(
            f"{target.python} has no pip, which installs the wheel",
            fix=f"{target.python} -m ensurepip",
        )
    version = target.distributions["tensorflow"]
    if version is None:
        raise SetupError(
            f"TensorFlow is not installed in {target.python}, and Horovod is compiled against it",
            fix=f"{target.python} {_INSTALL_TENSORFLOW}",
        )
    if not version.startswith(_TENSORFLOW_SERIES):
        raise SetupError(
            f"{target.python} has TensorFlow {version}; our Horovod is built for "
            f"{_TENSORFLOW_SERIES}x",
            fix=f"{target.python} {_INSTALL_TENSORFLOW}",
        )


def _require_launcher(target: Target) -> None:
    if target.distributions["hvd_imgcls"] is None:
        raise SetupError(
            f"hvd_imgcls is not installed in {target.python}, and our horovodrun uses its launcher",
            fix=f"{target.python} -m pip install DIRECTORY, that of hvd_imgcls",
        )


def _say_what_is_built(target: Target, toolchain: Toolchain, say: Say) -> None:
    say(
        f"Horovod {VERSION} for TensorFlow {target.distributions['tensorflow']} and Python "
        f"{target.version_text} ({target.python})"
    )
    say(f"  compiler: {toolchain.compiler_version}")
    if toolchain.mpi_compiler:
        say(f"  with Gloo, and with MPI ({toolchain.mpi_compiler})")
    else:
        say("  with Gloo, without MPI (with it: sudo apt-get install libopenmpi-dev openmpi-bin)")
    if toolchain.cuda:
        say(f"  with CUDA and NCCL ({toolchain.cuda.versions})")
        say("  note: not yet run on a GPU; `hvd-imgcls doctor --gpu` tests it where there is one")


def _is_installed(target: Target, toolchain: Toolchain) -> bool:
    record = target.horovod_build_record or {}
    key = cache_key(key_ingredients(target, toolchain))
    return target.distributions["horovod"] == VERSION and record.get("key") == key


def _install_wheel(target: Target, wheel_path: Path, say: Say) -> None:
    logs_dir = cache_dir() / "logs"
    logs_dir.mkdir(parents=True, exist_ok=True)
    log_path = logs_dir / f"install-{os.getpid()}.log"
    pip_install = [target.python, "-m", "pip", "install", "--quiet"]
    missing = [name for name in RUN_TIME_DISTRIBUTIONS if target.distributions[name] is None]
    if missing:
        say(f"installing what Horovod imports: {', '.join(missing)}")
        what = "installing what Horovod imports"
        run_logged([*pip_install, *missing], what=what, log_path=log_path, say=say)
    say(f"installing {wheel_path.name}")
    # By file and without an index, so that pip uses neither another Horovod nor its own cache.
    pip_install += ["--no-index", "--no-cache-dir", "--no-deps", "--force-reinstall"]
    what = "installing the Horovod wheel"
    run_logged([*pip_install, str(wheel_path)], what=what, log_path=log_path, say=say)
    log_path.unlink()


def _test(python: str, toolchain: Toolchain, say: Say) -> None:
    controllers = ["gloo"]
    if toolchain.mpi_compiler:
        if shutil.which("mpirun"):
            controllers.append("mpi")
        else:
            say("  warning: MPI is not tested, since mpirun is not in PATH")
    for controller in controllers:
        say(f"testing: 2 ranks add numbers over {controller} (about 15 s)")
        result = run_self_test(python, controller)
        if not result.is_good:
            raise SetupError(
                f"Horovod is installed, but its self-test fails: {result.describe()}",
                fix=f"for the complete output, run: {result.command}",
            )
        say(f"  {result.describe()}")
