"""`hvd-imgcls watch` on runs in every state, and on files that somebody else has written."""

from __future__ import annotations

import datetime
import json
import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest

from hvd_imgcls import cli
from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.environment.record import host_name
from hvd_imgcls.run_directory.lock import RunLock
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.run_directory.status import State, write_status
from hvd_imgcls.workflows.watch.reading import read_view
from hvd_imgcls.workflows.watch.rendering import render
from hvd_imgcls.workflows.watch.screen import fitting
from hvd_imgcls.workflows.watch.state import state_of
from tests.support.launch import ROOT
from tests.support.nasty import CONTENTS, SPECIAL, at_once, put

ESCAPES = "\x1b]0;title\x07\x1b[2J\x1b[31m\n"
FILES = (
    "status.json",
    "plan.json",
    "launches.jsonl",
    "progress.json",
    "metrics.jsonl",
    "summary.json",
    "nodes.jsonl",
    ".lock",
    "config.yaml",
    "checkpoints",
)


def progress(num_ranks=2, num_hosts=1, name="box"):
    return {
        "time": "2026-11-29T12:00:00+00:00",
        "activity": "training",
        "epoch": 3,
        "num_epochs": 40,
        "step": 57,
        "num_steps": 880,
        "metrics": {"loss": 1.2034, "accuracy": 0.7121},
        "metrics_are_of_root": True,
        "images_per_second": 2900.4,
        "seconds_left": 75.0,
        "slowest_rank": 1,
        "ranks": [
            {
                "rank": rank,
                "host": name,
                "data_wait_share": 0.02,
                "rank_wait_share": (0.14, 0.0)[rank] if rank < 2 else 0.5,
                "cores": 0.98,
                "memory_bytes": 1_234_000_000,
            }
            for rank in range(num_ranks)
        ],
        "hosts": [
            {
                "host": f"{name}{host or ''}",
                "ranks": [0, 1],
                "seconds": 12.0,
                "cores": 4,
                "cpu_share": 0.5,
                "load": 2.25,
                "memory_total_bytes": 16e9,
                "memory_used_bytes": 4e9,
                "memory_available_bytes": None,
                "network_in_bytes_per_second": 1_000_000,
                "network_out_bytes_per_second": 2_000_000,
                "disk_read_bytes_per_second": 0,
                "disk_write_bytes_per_second": 512,
                "gpus": [
                    {
                        "share": 0.9,
                        "memory_used_bytes": 4e10,
                        "memory_total_bytes": 8e10,
                    }
                ],
            }
            for host in range(num_hosts)
        ],
    }


@pytest.fixture
def files(tmp_path):
    """A run as a command that trains leaves it, or is writing it."""
    files = RunDir(tmp_path / "run")
    files.path.mkdir()
    files.config.write_text("model: {name: small_cnn}\n")
    files.plan.write_text(json.dumps({"num_epochs": 40, "num_steps": 880}))
    files.launches.write_text(json.dumps({"size": 2, "ranks_by_host": {"box": 2}}) + "\n")
    write_status(files, State.RUNNING)
    return files


@pytest.fixture
def lock(files):
    lock = RunLock(files.path)
    yield lock
    lock.release()


def lines(files, **options):
    # The machine may be busy.
    shown = render(read_view(files.path), **options)
    return [re.sub(r"\b\d s ago", "N s ago", line) for line in shown]


def test_a_run_that_starts_shows_what_is_planned(files, lock):
    first, second, *_ = lines(files)
    assert first == f"{files.path}: running: starting on {host_name()}"
    assert second == "2 ranks on 1 host  40 epochs, 880 steps planned"


def test_nothing_but_the_lock_is_a_run_that_starts(tmp_path):
    with pytest.raises(Exception, match="expected a run directory"):
        read_view(tmp_path)
    lock = RunLock(tmp_path)
    shown = render(read_view(tmp_path))
    lock.release()
    assert shown[0] == f"{tmp_path}: running: starting"
    assert shown[-1] == "no file has been written"


def test_a_run_that_lasts_shows_ranks_and_hosts_side_by_side(files, lock):
    files.progress.write_text(json.dumps(progress()))
    files.metrics.write_text('{"epoch": 1, "loss": 2}\n{"epoch": 2, "loss": 1.5, "step": 44}\n{"ep')
    CheckpointStore(files.checkpoints).write(40, {"a": {}}, [], {})
    shown = lines(files)
    assert shown[:5] == [
        f"{files.path}: running: training on {host_name()}",
        "2 ranks on 1 host  epoch 3/40  step 57/880 (6 %)  2,900 images/s  1 min 15 s left",
        "metrics: loss 1.203  accuracy 0.7121 on rank 0",
        "last complete epoch, 2: loss 1.5",
        "last checkpoint: step 40, N s ago",
    ]
    table = [line.split() for line in shown[6:9]]
    assert table[1:] == [
        ["0", "box", "2", "%", "14", "%", "0.98", "1.23", "GB"],
        ["1", "box", "2", "%", "0", "%", "0.98", "1.23", "GB", "slowest"],
    ]
    host = shown[11]
    assert "50 % of 4" in host
    assert "1 MB/s" in host
    assert "90 % 40 GB" in host
    assert shown[-1].startswith("files changed ")


@pytest.mark.parametrize(
    ("state", "message", "expected"),
    [
        (State.FINISHED, "", "finished, N s ago"),
        (State.STOPPED, "stopped by SIGTERM", "stopped: stopped by SIGTERM, N s ago"),
        (State.FAILED, "rank 1: no space", "failed: rank 1: no space, N s ago"),
    ],
)
def test_a_run_that_ended_says_how(files, state, message, expected):
    files.progress.write_text(json.dumps(progress()))
    files.summary.write_text(json.dumps({"top1": 0.99441, "seconds": {"total": 23.2}}))
    write_status(files, state, message)
    assert state_of(read_view(files.path)).has_ended
    shown = lines(files)
    assert shown[0] == f"{files.path}: {expected}"
    assert "left" not in shown[1]
    assert "held-out accuracy 0.9944, after 23 s" in shown


def test_a_run_without_a_process_was_killed(files):
    view = read_view(files.path)
    state = state_of(view)
    assert (state.text, state.has_ended) == (f"killed on {host_name()}, without a message", True)


def test_the_lock_of_another_host_may_be_invisible(files):
    files.progress.write_text(json.dumps(progress()))
    state = state_of(read_view(files.path), own_host="elsewhere")
    expected = f"running: training on {host_name()} (its lock is not visible here)"
    assert (state.text, state.has_ended) == (expected, False)
    for path in files.path.iterdir():
        os.utime(path, (0, time.time() - 7200))
    state = state_of(read_view(files.path), own_host="elsewhere")
    assert state.text.startswith(f"killed on {host_name()}, or not visible from here: no file has")
    assert state.text.endswith("for 2 h 0 min")
    assert not state.has_ended


def test_a_command_that_continues_an_ended_run_is_seen(files, lock):
    write_status(files, State.STOPPED, "stopped by SIGTERM")
    assert state_of(read_view(files.path)).text == "starting again"
    write_status(files, State.FINISHED)
    assert not state_of(read_view(files.path)).has_ended


def test_of_many_ranks_the_slowest_are_shown(files, lock):
    files.progress.write_text(json.dumps(progress(num_ranks=5000, num_hosts=700)))
    shown = lines(files, most_rows=3)
    assert "the 3 slowest of 5,000 ranks:" in shown
    assert "the first 3 of 700 hosts:" in shown
    first = shown.index("the 3 slowest of 5,000 ranks:") + 2
    assert [line.split()[0] for line in shown[first : first + 3]] == ["1", "0", "2"]
    assert len(shown) < 20
    assert len(lines(files)) < 600


@pytest.mark.parametrize("what", [*SPECIAL, *CONTENTS])
@pytest.mark.parametrize("name", FILES)
def test_every_file_may_be_anything(files, name, what):
    path = files.path / name
    path.unlink(missing_ok=True)
    put(what, path)
    with at_once():
        shown = lines(files)
    require_harmless(shown)
    if what in SPECIAL and name in ("plan.json", "progress.json", "summary.json"):
        assert any(line.startswith(f"{name}: ") for line in shown)


@pytest.mark.parametrize("name", FILES)
def test_every_file_may_be_missing(files, name):
    (files.path / name).unlink(missing_ok=True)
    require_harmless(lines(files))


def require_harmless(shown):
    assert shown
    for line in shown:
        assert line.isprintable(), line
        assert len(line) < 2000


WRONG = (None, "x", ESCAPES, -1, 10**400, 1e308, 0.5, [], {}, [["a"]], {"a": {"b": 1}}, True)


def places(value, before=()):
    """Yields the paths of all values, of lists those in the first item."""
    yield before
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*before, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*before, 0))


def with_value(tree, place, value):
    if not place:
        return value
    changed = json.loads(json.dumps(tree))
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return changed


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: repr(wrong)[:20])
def test_every_value_may_be_wrong(files, lock, wrong):
    trees = {
        files.progress: progress(),
        files.plan: {"num_epochs": 1, "num_steps": 2},
        files.launches: {"size": 2, "ranks_by_host": {"a": 1}},
        files.summary: {"top1": 1.0, "seconds": {"total": 1.0}},
        files.status: {"state": "running", "message": "", "time": "", "host": "a"},
        files.metrics: {"epoch": 1, "loss": 1.0},
    }
    for path, tree in trees.items():
        for place in places(tree):
            path.write_text(json.dumps(with_value(tree, place, wrong)) + "\n")
            require_harmless(lines(files))


def test_names_cannot_control_the_terminal(files, lock):
    files.progress.write_text(json.dumps(progress(name=ESCAPES)))
    files.metrics.write_text(json.dumps({"epoch": 1, ESCAPES: 1.0}) + "\n")
    shown = lines(files)
    require_harmless(shown)
    assert any(r"\x1b[2J" in line for line in shown)


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00", "9999-12-31T23:59:59+00:00", "now", "2026-11-29"]
)
def test_times_of_no_use_are_left_out(files, moment):
    files.status.write_text(json.dumps({"state": "finished", "time": moment, "message": ""}))
    assert lines(files)[0].startswith(f"{files.path}: finished")


def test_a_checkpoint_from_the_future_is_no_error(files, lock, monkeypatch):
    CheckpointStore(files.checkpoints).write(40, {"a": {}}, [], {})
    view = read_view(files.path)
    future = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    object.__setattr__(view.checkpoint, "created", future)
    assert "last checkpoint: step 40, 0 s ago" in render(view)


def run(*words):
    return cli.exit_code_of(lambda: cli.main(["watch", *map(str, words)]))


def test_without_a_terminal_it_is_printed_once(files, capsys):
    assert run(files.path) == 0
    assert run(files.path, "--once") == 0
    first, second = capsys.readouterr().out.split(f"{files.path}: ")[1:]
    assert first.splitlines()[:-1] == second.splitlines()[:-1]
    assert "\x1b" not in first


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "x", "1e9"])
def test_intervals_are_seconds(files, seconds, capsys):
    assert run(files.path, "--interval", seconds) == 2
    assert "not a number of seconds" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["empty", "missing", "file"])
def test_what_is_no_run_is_an_error(tmp_path, what, capsys):
    path = tmp_path / "a"
    if what != "missing":
        path.mkdir() if what == "empty" else path.write_text("x")
    assert run(path) == 2
    assert "RUN: got" in capsys.readouterr().err


def read_until(descriptor, text, seconds=60):
    """Returns what a terminal has received, as soon as it contains a text."""
    received = ""
    deadline = time.monotonic() + seconds
    while text not in received:
        ready, _, _ = select.select([descriptor], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"no {text!r} in {received!r}"
        received += os.read(descriptor, 65536).decode()
    return received


@pytest.mark.parametrize("end", ["finished", "Ctrl-C"])
def test_in_a_terminal_it_redraws_until_the_run_ends(files, lock, end):
    ours, theirs = pty.openpty()
    os.set_inheritable(theirs, True)
    command = [sys.executable, "-m", "hvd_imgcls", "watch", files.path, "--interval", "0.1"]
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT)}
    environment.update({"LINES": "30", "COLUMNS": "100"})
    # A session of its own, so that Ctrl-C in its terminal reaches it alone.
    process = subprocess.Popen(
        ["setsid", "--ctty", *command], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    try:
        read_until(ours, "running: starting")
        files.progress.write_text(json.dumps(progress()))
        shown = read_until(ours, "epoch 3/40")
        assert "\x1b[" in shown
        assert all(len(line) < 100 + 8 for line in shown.splitlines())
        if end == "Ctrl-C":
            os.write(ours, b"\x03")
        else:
            write_status(files, State.FINISHED)
            lock.release()
            lock._descriptor = os.open(os.devnull, os.O_RDONLY)
            read_until(ours, "finished")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_lines_are_cut_by_columns():
    assert fitting("e\u0301e\u0301e\u0301", 2) == "e\u0301e\u0301"
    assert fitting("日本", 4) == "日本"
