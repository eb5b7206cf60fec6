"""The shell part of the set-up, where the system has no supported Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hvd_imgcls.horovod_build import sdist

SET_UP = Path(sdist.__file__).with_name("set_up.sh")
TOOLS = ("sh", "awk", "df", "dirname", "env", "cat")


def make_program(directory: Path, name: str, script: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Returns a directory to use as PATH: the shell's tools and a Python 3.14, nothing else."""
    for name in TOOLS:
        os.symlink(str(shutil.which(name)), tmp_path / name)
    make_program(tmp_path, "c++", "exit 0")
    make_program(tmp_path, "python3", 'case "$2" in *sys.exit*) exit 1;; *) echo 3.14.8;; esac')
    return tmp_path


def set_up_venv(programs: Path, python: str) -> str:
    done = subprocess.run(
        ["sh", str(SET_UP), "venv", python, str(programs / "venv")],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    return done.stderr


def test_a_python_that_is_too_new_is_named_with_a_package_that_helps(programs: Path) -> None:
    make_program(programs, "apt-cache", 'case "$3" in *3.12*) echo "python3.12 - Python";; esac')
    message = set_up_venv(programs, "python3")
    assert "python3 is Python 3.14.8; supported are 3.11, 3.12 and 3.13" in message
    assert "sudo apt-get install python3.12 python3.12-venv" in message
    assert "make PYTHON=/path/to/python3.12" in message


def test_without_apt_the_newest_supported_python_is_named(programs: Path) -> None:
    message = set_up_venv(programs, "python3")
    assert "sudo apt-get install python3.13 python3.13-venv" in message


def test_a_python_that_does_not_exist_is_named(programs: Path) -> None:
    message = set_up_venv(programs, "python9")
    assert "python9 was not found; supported are Python 3.11, 3.12 and 3.13" in message


def test_a_python_that_does_not_run_is_named(programs: Path) -> None:
    make_program(programs, "python3", "exit 127")
    assert "python3 does not run; supported are Python 3.11" in set_up_venv(programs, "python3")
