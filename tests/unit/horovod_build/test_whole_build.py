"""The whole way, for real: download, patch, compile, install, two ranks. Minutes; needs PyPI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from hvd_imgcls.horovod_build.sdist import VERSION
from hvd_imgcls.horovod_build.target import inspect_target

pytestmark = pytest.mark.slow


def make_venv_with_our_packages(directory: Path) -> Path:
    """Makes a virtual environment that sees the packages of this one behind its own."""
    subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
    (site_packages,) = directory.glob("lib/python3.*/site-packages")
    (site_packages / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return directory / "bin" / "python"


def install_horovod(python: Path, cache: Path, *options: str) -> str:
    command = [sys.executable, "-m", "hvd_imgcls.horovod_build", "--without-mpi", *options]
    done = subprocess.run(
        [*command, "--python", python],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(1200)
def test_from_an_empty_cache_to_two_ranks_and_again(tmp_path: Path) -> None:
    python = make_venv_with_our_packages(tmp_path / "venv")
    # Forced: our own packages may hold the same build.
    out = install_horovod(python, tmp_path / "cache", "--force")
    assert "compiled in" in out
    assert "2 ranks over gloo added 4.2 MB exactly" in out
    target = inspect_target(str(python))
    assert target.distributions["horovod"] == VERSION
    record = target.horovod_build_record
    assert record is not None
    assert record["with_mpi"] is False
    (directory,) = (tmp_path / "cache/hvd-imgcls/horovod").glob("tf*")
    assert json.loads((directory / "key.json").read_text()) == record
    again = install_horovod(python, tmp_path / "cache")
    assert "was built for exactly this" in again
    assert "compiling" not in again


@pytest.mark.timeout(600)
def test_the_doctor_calls_this_machine_ready() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hvd_imgcls.doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["is_ready"], done.stdout
    assert done.returncode == 0
    names = [check["name"] for check in report["checks"]]
    assert "allreduce over gloo" in names
