"""The programs of docs/python.md do what it says, on one rank and on two."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs" / "python.md").read_text("utf-8"), re.S | re.M
)
NAMES = ["fit", "loop", "trainer"]


def run(program, folder, size):
    """Returns what the program prints."""
    (folder / "pipelines").symlink_to(ROOT / "pipelines")
    (folder / "program.py").write_text(program, encoding="utf-8")
    horovodrun = Path(sys.executable).with_name("horovodrun")
    launcher = [
        str(horovodrun if horovodrun.exists() else shutil.which("horovodrun")),
        "--gloo",
        "-np",
        str(size),
    ]
    finished = subprocess.run(
        [*(launcher if size > 1 else []), sys.executable, "program.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_there_is_a_program_for_each_way():
    assert len(PROGRAMS) == len(NAMES)


@pytest.mark.parametrize(
    ("number", "size"),
    [
        (2, 2),
        *(pytest.param(number, 2, marks=pytest.mark.slow) for number in range(2)),
        *(pytest.param(number, 1, marks=pytest.mark.slow) for number in range(3)),
    ],
    ids=str,
)
@pytest.mark.ranks(2)
def test_program_runs_and_learns(number, size, tmp_path):
    printed = run(PROGRAMS[number], tmp_path, size)
    if number == 0:
        accuracies = [float(value) for value in re.findall(r" accuracy: ([\d.]+)", printed)]
        assert len(accuracies) == 4, "the root alone says it"
        assert accuracies[-1] > 0.9
        assert keras.models.load_model(tmp_path / "digits.keras").output_shape == (None, 10)
    elif number == 1:
        (loss,) = re.findall(r"176 steps, last loss ([\d.]+)", printed)
        assert float(loss) < 1.0
    else:
        accuracies = re.findall(r"held-out accuracy ([\d.]+)", printed)
        assert float(accuracies[0]) > 0.8
        assert (tmp_path / "my_run" / "evaluation.json").exists()
