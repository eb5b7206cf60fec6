"""Builds the Horovod wheel into the user's cache, or finds it there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hvd_imgcls.errors import SetupError
from hvd_imgcls.horovod_build.cache_key import BUILD_REQUIREMENTS_PATH, cache_key, key_ingredients
from hvd_imgcls.horovod_build.processes import Say, require_free_space, run_logged
from hvd_imgcls.horovod_build.sdist import fetch_sdist, unpack_and_patch
from hvd_imgcls.horovod_build.target import Target
from hvd_imgcls.horovod_build.toolchain import Toolchain

# Measured 2026-11-21: build tools 120 MB, source and objects 330 MB, wheel 16 MB.
_NEEDED_BYTES = 1_000_000_000

# A temporary directory of a build that was killed; a live one is guarded by the lock.
_BUILDING_PREFIX = "building-"


def cache_dir() -> Path:
    """Returns the directory in the user's cache where Horovod wheels are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "hvd-imgcls" / "horovod"


def build_record(target: Target, toolchain: Toolchain) -> dict[str, object]:
    """Returns what is written into the wheel: for what it was built, and with what."""
    ingredients = key_ingredients(target, toolchain)
    return {
        "key": cache_key(ingredients),
        "with_gloo": True,
        "with_mpi": toolchain.mpi_compiler is not None,
        "with_nccl": toolchain.cuda_home is not None,
        "ingredients": ingredients,
    }


def find_or_build_wheel(
    target: Target, toolchain: Toolchain, *, num_jobs: int, rebuild: bool, say: Say
) -> Path:
    """Returns the path of a wheel for this TensorFlow, Python and toolchain.

    A wheel comes into its place by one rename, so what is there is complete, whatever
    happened to an earlier build.

    Args:
        target: The Python to build for, inspected with TensorFlow.
        toolchain: What builds it.
        num_jobs: Number of compilers at a time.
        rebuild: Build it even if it is there.
        say: Prints a line.

    Raises:
        SetupError: If it cannot be built.
    """
    record = build_record(target, toolchain)
    root = _make_cache_dir()
    final_dir = root / str(record["key"])
    with _locked(root, say):
        if final_dir.exists() and not rebuild:
            say(f"found a wheel of an earlier build in {final_dir}")
            return _wheel_in(final_dir)
        for left in root.glob(f"{_BUILDING_PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)
        require_free_space(root, _NEEDED_BYTES, "building Horovod")
        work_dir = Path(tempfile.mkdtemp(prefix=_BUILDING_PREFIX, dir=root))
        try:
            wheel_dir = _build(target, toolchain, record, work_dir, num_jobs, say)
            (wheel_dir / "key.json").write_text(json.dumps(record, indent=2) + "\n")
            if final_dir.exists():
                shutil.rmtree(final_dir)
            wheel_dir.rename(final_dir)
        except OSError as error:
            raise SetupError(
                f"building Horovod in {root} failed: {error}",
                fix="free some space or mend the directory, then run the same command again",
            ) from error
        finally:
            shutil.rmtree(work_dir, ignore_errors=True)
        return _wheel_in(final_dir)


def build_environment(toolchain: Toolchain, tools_dir: Path, num_jobs: int) -> dict[str, str]:
    """Returns the environment of the build: the caller's, less what would leak into it."""
    environment = {
        name: value
        for name, value in os.environ.items()
        # CCL_ROOT alone would switch oneCCL on.
        if not name.startswith(("HOROVOD_", "CMAKE_", "CCL_"))
    }
    # Left by a `make` around us; its job server is not ours.
    for name in ("MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"):
        environment.pop(name, None)
    python_path = [str(tools_dir), environment.get("PYTHONPATH", "")]
    environment.update(
        CXX=toolchain.compiler,
        MAKEFLAGS=f"-j{num_jobs}",
        PATH=f"{tools_dir / 'bin'}{os.pathsep}{environment.get('PATH', '')}",
        PYTHONPATH=os.pathsep.join(filter(None, python_path)),
        TF_CPP_MIN_LOG_LEVEL="3",
        HOROVOD_WITH_TENSORFLOW="1",
        HOROVOD_WITHOUT_PYTORCH="1",
        HOROVOD_WITHOUT_MXNET="1",
        HOROVOD_WITH_GLOO="1",
        HOROVOD_BUILD_ARCH_FLAGS=" ".join(toolchain.architecture_flags),
    )
    environment["HOROVOD_WITH_MPI" if toolchain.mpi_compiler else "HOROVOD_WITHOUT_MPI"] = "1"
    if toolchain.cuda_home:
        environment.update(HOROVOD_GPU_OPERATIONS="NCCL", HOROVOD_CUDA_HOME=toolchain.cuda_home)
        if toolchain.nccl_home:
            environment["HOROVOD_NCCL_HOME"] = toolchain.nccl_home
    else:
        # Else it is compiled in wherever CUDA's headers happen to lie.
        environment["HOROVOD_WITHOUT_NVTX"] = "1"
    return environment


def _build(
    target: Target,
    toolchain: Toolchain,
    record: dict[str, object],
    work_dir: Path,
    num_jobs: int,
    say: Say,
) -> Path:
    logs_dir = work_dir.parent / "logs"
    logs_dir.mkdir(exist_ok=True)
    log_path = logs_dir / f"{record['key']}.log"
    log_path.write_text("")
    tools_dir, wheel_dir = work_dir / "tools", work_dir / "wheel"
    wheel_dir.mkdir()
    environment = build_environment(toolchain, tools_dir, num_jobs)
    say("downloading the build tools, CMake among them (30 MB)")
    install = [target.python, "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
    install += ["--only-binary", ":all:", "--retries", "2", "--target", str(tools_dir)]
    install += ["--requirement", str(BUILD_REQUIREMENTS_PATH)]
    what = "downloading the build tools"
    run_logged(install, what=what, log_path=log_path, say=say)
    sdists_dir = work_dir.parent / "sdists"
    sdist_path = fetch_sdist(
        target.python, sdists_dir, log_path=log_path, environment=environment, say=say
    )
    source_dir = unpack_and_patch(sdist_path, work_dir, record)
    say(f"compiling Horovod with {num_jobs} jobs (2 to 4 minutes on 2 cores); log: {log_path}")
    start = time.monotonic()
    run_logged(
        [target.python, "setup.py", "bdist_wheel", "--dist-dir", str(wheel_dir)],
        what="compiling Horovod",
        log_path=log_path,
        say=say,
        environment=environment,
        working_dir=source_dir,
    )
    say(f"compiled in {time.monotonic() - start:.0f} s")
    return wheel_dir


def _wheel_in(directory: Path) -> Path:
    wheels = sorted(directory.glob("horovod-*.whl"))
    if len(wheels) != 1:
        raise SetupError(
            f"{directory} holds {len(wheels)} Horovod wheels instead of one",
            fix=f"rm -r {directory}, then run the same command again",
        )
    return wheels[0]


def _make_cache_dir() -> Path:
    root = cache_dir()
    try:
        (root / "sdists").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"the cache directory {root} cannot be made: {error.strerror}",
            fix="set XDG_CACHE_HOME to a directory that you may write to",
        ) from error
    return root


@contextlib.contextmanager
def _locked(root: Path, say: Say) -> Iterator[None]:
    with (root / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build is under way in the same cache; waiting for it to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
