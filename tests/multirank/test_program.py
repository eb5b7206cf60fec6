"""The whole program, started as a user starts it, on real ranks."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.support.program import PIPELINE, has_mpi, hvd_imgcls, running

# Errors of all ranks alike leave no traceback of Python, whoever might print one.
TRACEBACK = "Traceback (most recent call last)"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The main job on two ranks, as `make train` runs it."""
    directory = tmp_path_factory.mktemp("trained")
    with running(hvd_imgcls("train", PIPELINE), size=2, cwd=directory) as program:
        exit_code = program.wait(240)
        return directory / "runs" / "digits_cnn-1", exit_code, program.output


@pytest.mark.ranks(2)
def test_main_job_ends_with_accuracy_and_where_to_look(trained):
    run_dir, exit_code, output = trained
    assert exit_code == 0, output
    assert "plan:" in output
    assert "threads" in output
    assert "model identical on all ranks: yes (2 x" in output
    assert f"results written to runs/{run_dir.name}" in output
    metrics = json.loads((run_dir / "evaluation.json").read_text())
    assert metrics["top1"] >= 0.98
    assert metrics["num_examples"] == 359
    assert sum(map(sum, metrics["confusion_matrix"])) == 359


@pytest.mark.ranks(2)
def test_main_job_writes_its_run_directory(trained):
    run_dir, _, output = trained
    names = {path.name for path in run_dir.iterdir()}
    expected = {
        ".lock",
        "checkpoints",
        "status.json",
        "config.yaml",
        "plan.json",
        "classes.json",
        "launches.jsonl",
        "first_batch.png",
        "metrics.jsonl",
        "nodes.jsonl",
        "progress.json",
        "curves.json",
        "evaluation.json",
        "pictures.json",
        "model.keras",
        "predictions.parquet",
        "log.txt",
        "summary.json",
        "report.html",
        "tensorboard",
    }
    assert names == expected, output
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    plan = json.loads((run_dir / "plan.json").read_text())
    assert len(lines) == plan["num_epochs"]
    assert lines[-1]["step"] == plan["num_steps"]


@pytest.mark.ranks(2)
def test_main_job_says_what_it_waited_for_and_its_log_has_time_and_rank(trained):
    run_dir, _, output = trained
    summary = json.loads((run_dir / "summary.json").read_text())
    assert [rank["rank"] for rank in summary["ranks"]] == [0, 1]
    assert re.search(r"rank 0/2\] waiting: data \d+ %.*, other ranks \d+ %", output), output
    lines = (run_dir / "log.txt").read_text().splitlines()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ INFO \[rank 0/2\] plan:", lines[0])


@pytest.mark.ranks(2)
def test_every_verbose_rank_says_what_it_does_with_its_rank(tmp_path):
    words = hvd_imgcls("statistics", PIPELINE, "--verbose")
    with running(words, size=2, cwd=tmp_path) as program:
        assert program.wait(120) == 0, program.output
        for rank in (0, 1):
            assert f"[rank {rank}/2] # of 1,438 training images" in program.output


@pytest.mark.ranks(3)
@pytest.mark.parametrize("size", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_evaluation_has_the_same_bytes_on_any_number_of_ranks(trained, size):
    run_dir, _, _ = trained
    out = run_dir.parent / f"again-{size}"
    words = hvd_imgcls("evaluate", str(run_dir), "--out", str(out))
    if size == 1:
        # As many threads as each of the two ranks had: without AVX-512, oneDNN divides the sums of
        # a dense layer by threads.
        words = ["taskset", "-c", "0", *words]
    with running(words, size=size, cwd=run_dir.parent) as program:
        assert program.wait(120) == 0, program.output
    for name in ("evaluation.json", "curves.json", "predictions.parquet"):
        assert (out / name).read_bytes() == (run_dir / name).read_bytes()


PLAIN_KERAS = """
import sys
sys.modules["hvd_imgcls"] = sys.modules["horovod"] = None  # importing them would fail
import keras
model = keras.models.load_model(sys.argv[1])
assert model.optimizer.iterations > 0
"""


@pytest.mark.ranks(2)
def test_the_trained_model_loads_in_plain_keras(trained):
    run_dir, _, _ = trained
    words = [sys.executable, "-c", PLAIN_KERAS, str(run_dir / "model.keras")]
    finished = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.slow
@pytest.mark.ranks(2)
@pytest.mark.parametrize("victim", [0, 1])
def test_killing_a_rank_ends_everything_within_15_seconds(tmp_path, victim):
    words = hvd_imgcls("train", PIPELINE, "--train.num_epochs", "100000")
    with running(words, size=2, cwd=tmp_path) as program:
        program.wait_for_output("images/s", 120)
        program.rank_processes()[victim].send_signal(signal.SIGKILL)
        killed = time.monotonic()
        exit_code = program.wait(15)
        while program.processes():
            assert time.monotonic() - killed < 15, program.processes()
            time.sleep(0.1)
    assert exit_code not in (0, 5), program.output
    output = program.output
    assert TRACEBACK not in output, output
    causes = [
        line for line in output.splitlines() if f"rank {victim}" in line and "SIGKILL" in line
    ]
    assert len(causes) == 1, output


def weights_hash(output):
    return re.search(r"model identical on all ranks: yes \(2 x ([0-9a-f]{16})\)", output).group(1)


@pytest.mark.slow
@pytest.mark.ranks(2)
def test_gloo_and_mpi_train_the_same_model_bit_for_bit(tmp_path):
    if not has_mpi():
        pytest.skip("Horovod was built without MPI, or there is no mpirun")
    hashes = {}
    for launcher in ("gloo", "mpi"):
        words = hvd_imgcls("train", PIPELINE, "--train.num_epochs", "3")
        with running(words, size=2, cwd=tmp_path, launcher=launcher) as program:
            assert program.wait(120) == 0, program.output
            hashes[launcher] = weights_hash(program.output)
    assert hashes["gloo"] == hashes["mpi"]


DIFFERENT_SEEDS = """
import os, sys
from hvd_imgcls.cli import run
sys.argv = ["hvd-imgcls", "train", sys.argv[1], "--train.seed", os.environ["HOROVOD_RANK"]]
run()
"""


@pytest.mark.ranks(2)
def test_different_configurations_end_in_one_message(tmp_path):
    words = [sys.executable, "-c", DIFFERENT_SEEDS, PIPELINE]
    with running(words, size=2, cwd=tmp_path) as program:
        assert program.wait(120) == 2, program.output
        output = program.output
    assert output.count("values differ between ranks") == 1, output
    assert "configuration.train.seed: 0 on rank 0, 1 on rank 1" in output
    assert TRACEBACK not in output, output


@pytest.mark.ranks(2)
def test_a_wrong_key_is_said_once_with_a_suggestion(tmp_path):
    words = hvd_imgcls("train", PIPELINE, "--train.num_epoch", "2")
    with running(words, size=2, cwd=tmp_path) as program:
        assert program.wait(60) == 2, program.output
        output = program.output
    assert output.count("train.num_epoch: got 2 for an unknown key") == 1, output
    assert "num_epochs" in output
    assert TRACEBACK not in output, output


@pytest.mark.ranks(2)
def test_a_source_that_cannot_be_opened_is_said_once(tmp_path):
    source = f"{{name: image_folder, path: {tmp_path}}}"
    words = hvd_imgcls("train", PIPELINE, "--data.source", source)
    with running(words, size=2, cwd=tmp_path) as program:
        assert program.wait(60) == 3, program.output
        output = program.output
    assert output.count("no class folders in it") == 1, output
    assert TRACEBACK not in output, output


FAIL_ON_ONE = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # as the command line sets it
import hvd_imgcls.workflows.training.watching as watching
from hvd_imgcls.cli import run
from hvd_imgcls.errors import DataError

class Fail(watching.Progress):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1 and os.environ["HOROVOD_RANK"] == "1":
            raise DataError("images/0007.png: cannot be read")
        super().on_epoch_begin(epoch, logs)

watching.Progress = Fail
sys.argv = ["hvd-imgcls", "train", sys.argv[1]]
run()
"""


@pytest.mark.ranks(2)
def test_an_error_of_one_rank_is_the_only_one_that_is_printed(tmp_path):
    words = [sys.executable, "-c", FAIL_ON_ONE, PIPELINE]
    with running(words, size=2, cwd=tmp_path) as program:
        assert program.wait(120) == 3, program.output
        output = program.output
    assert "[rank 1/2] error: images/0007.png: cannot be read" in output
    assert TRACEBACK not in output, output
    assert "Horovod has been shut down" not in output, output


HANG_ON_ONE = """
import os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # as the command line sets it
os.environ["HOROVOD_STALL_CHECK_TIME_SECONDS"] = "1"
os.environ["HOROVOD_STALL_SHUTDOWN_TIME_SECONDS"] = "3"
import hvd_imgcls.workflows.training.watching as watching
from hvd_imgcls import distributed
from hvd_imgcls.cli import run

class Hang(watching.Progress):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1 and distributed.current().topology.rank == 1:
            print("hanging", flush=True)
            time.sleep(600)
        super().on_epoch_begin(epoch, logs)

watching.Progress = Hang
sys.argv = ["hvd-imgcls", "train", sys.argv[1]]
run()
"""


@pytest.mark.slow
@pytest.mark.ranks(2)
@pytest.mark.parametrize("launcher", ["gloo", "mpi"])
def test_a_rank_that_hangs_is_named_and_ends_the_run(tmp_path, launcher):
    if launcher == "mpi" and not has_mpi():
        pytest.skip("Horovod was built without MPI, or there is no mpirun")
    words = [sys.executable, "-c", HANG_ON_ONE, PIPELINE]
    with running(words, size=2, cwd=tmp_path, launcher=launcher) as program:
        program.wait_for_output("hanging", 120)
        # The launcher has to kill it, and knows which one it was.
        expected = 6 if launcher == "gloo" else 5
        assert program.wait(30) == expected, program.output
        output = program.output
    if launcher == "gloo":
        assert "horovodrun: rank 1 on localhost did not respond and was killed" in output
    assert re.search(r"Missing ranks:\n.*1!: \[", output), output
    assert "another rank exited or stopped participating" in output
    assert TRACEBACK not in output, output


@pytest.mark.slow
@pytest.mark.ranks(2)
def test_show_data_on_two_ranks_draws_one_sheet(tmp_path):
    words = hvd_imgcls("show-data", PIPELINE, "--out", "sheet.png")
    with running(words, size=2, cwd=tmp_path) as program:
        assert program.wait(120) == 0, program.output
        assert program.output.count("examples of 8 by 8 pixels") == 1, program.output
    assert (tmp_path / "sheet.png").exists()
