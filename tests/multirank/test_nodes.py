"""A real run on two ranks writes the use of its host, and `watch` shows it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time

import psutil
import pytest

from tests.support.program import hvd_imgcls, running

OPTIONS = (
    "--run_dir=run",
    "--train.global_batch_size=48",
    "--model.num_filters=[4, 4]",
    "--checkpoint.every_steps=25",
    "--logging={tensorboard: false, report: false, prometheus_file: run.prom}",
)


def watch(folder):
    command = hvd_imgcls("watch", "run", "--once")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def lines_of(path):
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def wait_for(condition, program, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition():
        assert program.process.poll() is None, program.output
        assert time.monotonic() < deadline, program.output
        time.sleep(0.1)


def has_ranks(run):
    with contextlib.suppress(OSError, ValueError):
        shown = json.loads((run / "progress.json").read_text())
        return len(shown.get("ranks", ())) == 2 and shown["step"] > 1
    return False


@pytest.mark.timeout(600)
@pytest.mark.ranks(2)
def test_a_run_is_shown_while_it_lasts_and_when_it_was_stopped(tmp_path):
    run = tmp_path / "run"
    train = hvd_imgcls("train", "digits_cnn", *OPTIONS, "--train.num_epochs=1000")
    with running(train, size=2, cwd=tmp_path) as program:
        wait_for(lambda: has_ranks(run) and lines_of(run / "nodes.jsonl"), program)
        shown = watch(tmp_path)
        program.process.send_signal(signal.SIGTERM)
        assert program.wait(240) == 75, program.output
    first, second, *_ = shown.splitlines()
    assert first.startswith("run: running: training on ")
    assert second.startswith("2 ranks on 1 host  epoch ")
    assert "images/s" in second
    ranks = [line.split() for line in shown.splitlines() if line[:2] in ("0 ", "1 ")]
    assert [rank[0] for rank in ranks] == ["0", "1"]
    # Cores and memory are those of the ranks.
    assert all(0 < float(rank[6]) < 2 * psutil.cpu_count() for rank in ranks)
    assert all(rank[8] in ("MB", "GB") for rank in ranks)
    assert sum("slowest" in rank for rank in ranks) == 1

    lines = lines_of(run / "nodes.jsonl")
    assert {tuple(line["ranks"]) for line in lines} == {(0, 1)}
    for line in lines:
        assert line["cores"] == psutil.cpu_count()
        assert 0 < line["cpu_share"] <= 1
        assert 0 < line["memory_used_bytes"] < line["memory_total_bytes"]
        assert all(memory > 2**27 for memory in line["rank_memory_bytes"])
    assert [line["step"] for line in lines] == sorted(line["step"] for line in lines)

    ended = watch(tmp_path)
    assert ended.startswith("run: stopped: stopped by SIGTERM after step ")
    assert "last checkpoint: step " in ended
    text = (tmp_path / "run.prom").read_text()
    assert 'hvd_imgcls_running{run="run"} 0.0' in text
    assert text.count("hvd_imgcls_rank_memory_bytes{") == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.ranks(2)
def test_a_killed_run_is_shown_so_and_continued_without_later_lines(tmp_path):
    run = tmp_path / "run"
    words = ("train", "digits_cnn", *OPTIONS)
    with running(hvd_imgcls(*words, "--train.num_epochs=1000"), size=2, cwd=tmp_path) as program:
        wait_for(lambda: len(lines_of(run / "nodes.jsonl")) >= 3, program)
        for process in program.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        program.wait(60)
    assert watch(tmp_path).startswith("run: killed on ")
    before = lines_of(run / "nodes.jsonl")
    # As if it had been killed long after its last checkpoint.
    later = {**before[-1], "step": 10**6}
    with (run / "nodes.jsonl").open("a") as file:
        file.write(json.dumps(later) + '\n{"half of')
    with running(hvd_imgcls(*words, "--train.num_epochs=1000"), size=2, cwd=tmp_path) as program:
        program.wait_for_output("the first step is traced", 240)
        wait_for(lambda: has_ranks(run) and lines_of(run / "nodes.jsonl"), program)
        program.process.send_signal(signal.SIGTERM)
        assert program.wait(240) == 75, program.output
    steps = [line["step"] for line in lines_of(run / "nodes.jsonl")]
    assert steps == sorted(steps)
    assert max(steps) < 10**6
