"""Asking a Python what it is, and what is said about one that will not do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hvd_imgcls.errors import SetupError
from hvd_imgcls.horovod_build.target import SUPPORTED_PYTHONS, describe_supported, inspect_target


def fake_python(directory: Path, script: str) -> str:
    path = directory / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_this_python_says_what_it_is() -> None:
    target = inspect_target(sys.executable)
    assert target.version == tuple(sys.version_info[:3])
    assert target.distributions["numpy"] is not None
    assert target.tensorflow_flags == ()


def test_an_unsupported_python_is_named_with_those_that_are(tmp_path: Path) -> None:
    facts = {"version": [3, 9, 18], "implementation": "cpython"}
    python = fake_python(tmp_path, f"echo '{json.dumps(facts)}'")
    with pytest.raises(SetupError, match=r"cpython 3\.9\.18; .*3\.11, 3\.12 and 3\.13"):
        inspect_target(python)


def test_the_message_names_what_setup_cfg_allows() -> None:
    text = (Path(__file__).parents[3] / "setup.cfg").read_text()
    first, last = SUPPORTED_PYTHONS[0], SUPPORTED_PYTHONS[-1]
    assert f"python_requires = >={first[0]}.{first[1]},<{last[0]}.{last[1] + 1}" in text
    assert describe_supported() == "3.11, 3.12 and 3.13"


def test_a_missing_or_broken_python_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be started"):
        inspect_target(str(tmp_path / "none"))
    with pytest.raises(SetupError, match="could not describe itself: no libpython"):
        inspect_target(fake_python(tmp_path, "echo no libpython >&2; exit 127"))


def test_the_command_without_tensorflow_ends_with_2_and_no_traceback(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "bare")], check=True)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "hvd_imgcls.horovod_build",
            "--python",
            tmp_path / "bare/bin/python",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "TensorFlow is not installed" in done.stderr
    assert "bare/bin/python -m pip install 'tensorflow>=2.21,<2.22'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_without_a_compiler_ends_with_2_and_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hvd_imgcls.horovod_build"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": str(tmp_path)},
    )
    assert done.returncode == 2
    assert "a C++ compiler" in done.stderr
    assert "sudo apt-get install g++ make" in done.stderr
    assert "Traceback" not in done.stderr
