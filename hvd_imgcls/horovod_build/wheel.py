"""Finds the Horovod wheel in the user's cache, or builds it there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hvd_imgcls.errors import SetupError
from hvd_imgcls.horovod_build.cache_key import cache_key, key_ingredients
from hvd_imgcls.horovod_build.compilation import Compilation
from hvd_imgcls.horovod_build.processes import Say, require_free_space
from hvd_imgcls.horovod_build.target import Target
from hvd_imgcls.horovod_build.toolchain import Toolchain

# Measured 2026-11-21: build tools, source and objects take up to 0.5 GB.
_NEEDED_BYTES = 1_000_000_000

# Prefix of the temporary directory of a build. The lock protects those of running builds.
_BUILDING_PREFIX = "building-"


def cache_dir() -> Path:
    """Returns the directory in the user's cache where Horovod wheels are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "hvd-imgcls" / "horovod"


def build_record(target: Target, toolchain: Toolchain) -> dict[str, object]:
    """Returns what is written into the wheel: what it was built for, and with what."""
    ingredients = key_ingredients(target, toolchain)
    return {
        "key": cache_key(ingredients),
        "with_gloo": True,
        "with_mpi": toolchain.mpi_compiler is not None,
        "with_nccl": toolchain.cuda is not None,
        "ingredients": ingredients,
    }


def find_or_build_wheel(
    target: Target, toolchain: Toolchain, *, num_jobs: int, rebuild: bool, say: Say
) -> Path:
    """Returns the path of a wheel for this TensorFlow, Python and toolchain.

    A wheel is moved to its final place by one rename, so a wheel that exists is complete even if
    an earlier build was interrupted.

    Args:
        target: The Python to build for, inspected with TensorFlow.
        toolchain: What builds it.
        num_jobs: Number of files to compile in parallel.
        rebuild: Build it even if it exists.
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
        wheel_dir = Path(tempfile.mkdtemp(prefix=_BUILDING_PREFIX, dir=root))
        try:
            Compilation(
                python=target.python,
                toolchain=toolchain,
                record=record,
                sdists_dir=root / "sdists",
                log_path=root / "logs" / f"{record['key']}.log",
                num_jobs=num_jobs,
                say=say,
            ).run(wheel_dir)
            (wheel_dir / "key.json").write_text(json.dumps(record, indent=2) + "\n")
            if final_dir.exists():
                shutil.rmtree(final_dir)
            wheel_dir.rename(final_dir)
        except OSError as error:
            raise SetupError(
                f"building Horovod in {root} failed: {error}",
                fix="free some space or repair the directory, then run the same command again",
            ) from error
        finally:
            shutil.rmtree(wheel_dir, ignore_errors=True)
        return _wheel_in(final_dir)


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
        for name in ("sdists", "logs"):
            (root / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"the cache directory {root} cannot be created: {error.strerror}",
            fix="set XDG_CACHE_HOME to a directory that you may write to",
        ) from error
    return root


@contextlib.contextmanager
def _locked(root: Path, say: Say) -> Iterator[None]:
    with (root / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build is running in the same cache; waiting for it to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
