"""Running pip and compilers: progress, and the one message of a failure."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from hvd_imgcls.errors import SetupError
from hvd_imgcls.horovod_build import processes
from hvd_imgcls.horovod_build.processes import require_free_space, run_logged


@pytest.fixture(autouse=True)
def _progress_every_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "SAY_EVERY_SECONDS", 1.0)


def run(tmp_path: Path, script: str, lines: list[str] | None = None) -> None:
    run_logged(
        ["/bin/sh", "-c", script],
        what="the test",
        log_path=tmp_path / "log",
        say=[].append if lines is None else lines.append,
    )


def test_progress_shows_time_and_percentage(tmp_path: Path) -> None:
    lines: list[str] = []
    run(tmp_path, "echo '[  7%] Building'; sleep 2.5", lines)
    assert lines[0].startswith("  the test: 1 s, 7 %")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("fatal: No space left on device", "the disk is full"),
        ("NewConnectionError(...)", "cannot reach its package index"),
        ("mpi_ops.cc:7: error: oops", "exit code 3; the end of .*log:\n.*oops"),
    ],
)
def test_a_failure_is_one_message_with_its_reason(
    tmp_path: Path, output: str, message: str
) -> None:
    with pytest.raises(SetupError, match=message):
        run(tmp_path, f"echo '{output}'; exit 3")


def test_what_the_caller_knows_of_a_failure_replaces_the_end_of_the_log(tmp_path: Path) -> None:
    def explain(text: str) -> SetupError | None:
        return SetupError("oops was explained", fix="none") if "oops" in text else None

    for output, message in (("oops", "^oops was explained"), ("else", "exit code 3; the end of")):
        with pytest.raises(SetupError, match=message):
            run_logged(
                ["/bin/sh", "-c", f"echo {output}; exit 3"],
                what="the test",
                log_path=tmp_path / output,
                say=[].append,
                explain=explain,
            )


def test_an_interrupt_ends_the_whole_tree(tmp_path: Path) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    marker = tmp_path / "still-there"
    command = [sys.executable, "-c", f"import os; os.system('sleep 4; touch {marker}')"]
    with pytest.raises(KeyboardInterrupt):
        run_logged(
            command,
            what="the test",
            log_path=tmp_path / "log",
            say=interrupt,
        )
    time.sleep(4)
    assert not marker.exists()


def test_a_disk_without_room_is_named(tmp_path: Path) -> None:
    require_free_space(tmp_path, 1, "nothing")
    with pytest.raises(SetupError, match=r"free, building needs 1000000\.0 GB"):
        require_free_space(tmp_path, 10**15, "building")
