"""What is no file, and files that bring a decoder down. Their formats: `bad_inputs`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from hvd_imgcls.workflows.preparing.inspection import inspect_file
from hvd_imgcls.workflows.preparing.inspector import Inspector
from tests.unit.data.bad_inputs import jpeg, other_formats, png

GOOD = [*jpeg.GOOD.values(), *png.GOOD.values(), *other_formats.GOOD.values()]
SMALL = [case.content for case in GOOD if len(case.content) < 10_000]


def test_what_is_no_file_is_a_problem(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "circle.jpg").symlink_to(tmp_path / "circle.jpg")
    assert inspect_file(tmp_path / "pipe.jpg").problem == "a pipe, not a regular file"
    assert inspect_file(tmp_path / "link.jpg").problem == "No such file or directory"
    assert "symbolic links" in str(inspect_file(tmp_path / "circle.jpg").problem)


@pytest.fixture(scope="module")
def inspector():
    inspector = Inspector(10**8, seconds_per_file=5)
    yield inspector
    inspector.close()


def test_a_child_answers_for_names_that_are_no_text(inspector, tmp_path):
    name = os.fsencode(tmp_path) + b'/\xff\n".jpg'
    with open(name, "wb") as file:
        file.write(jpeg.JPEG)
    assert inspector.inspect(Path(os.fsdecode(name)))["problem"] is None


def test_a_child_that_dies_or_hangs_costs_one_file(inspector, tmp_path):
    good = tmp_path / "good.jpg"
    good.write_bytes(jpeg.JPEG)
    assert inspector.inspect(good)["problem"] is None
    child = inspector._child
    child.kill()
    child.wait()
    assert inspector.inspect(good)["problem"] == "the decoder crashed (SIGKILL)"
    assert inspector.inspect(good)["problem"] is None
    os.kill(inspector._child.pid, 19)  # SIGSTOP
    assert inspector.inspect(good)["problem"] == "the decoder did not finish within 5 s"
    assert inspector.inspect(good)["problem"] is None


def mutated(content, generator):
    """Returns the content with some bits turned, cut short, or with a part elsewhere."""
    bytes_of = bytearray(content)
    kind = generator.integers(3)
    if kind == 0:
        for place in generator.integers(len(bytes_of), size=generator.integers(1, 20)):
            bytes_of[place] ^= 1 << int(generator.integers(8))
    elif kind == 1:
        del bytes_of[int(generator.integers(len(bytes_of))) :]
    else:
        first, last = sorted(map(int, generator.integers(len(bytes_of), size=2)))
        bytes_of = bytes_of[:first] + bytes_of[last:] + bytes_of[first:last]
    return bytes(bytes_of)


def test_mutated_images_are_good_or_bad_and_nothing_else(inspector, tmp_path):
    generator = np.random.default_rng(0)
    path = tmp_path / "mutated"
    problems = []
    for number in range(280):
        path.write_bytes(mutated(SMALL[number % len(SMALL)], generator))
        problems.append(inspector.inspect(path)["problem"])
    assert any(problem is None for problem in problems)
    reasons = [problem for problem in problems if problem is not None]
    assert len(reasons) > 50
    assert not [reason for reason in reasons if "crashed" in reason or "not finish" in reason]
