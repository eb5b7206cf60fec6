import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hvd_imgcls import cli, failures, logs
from hvd_imgcls.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    HangError,
    NonFiniteError,
    PeerFailedError,
    RankMismatchError,
    RootFailedError,
    SetupError,
)
from hvd_imgcls.failures import process_state

ROOT = Path(__file__).parents[2]
PIPELINE = str(ROOT / "pipelines" / "digits_cnn.yaml")
HEAVY = ("tensorflow", "keras", "horovod", "sklearn")
# Far above what it takes (0.3 s on the development machine), far below TensorFlow's import
# when the machine is idle.
LIGHT_SECONDS = 10

REPORT_MODULES = f"""
import json, sys
from hvd_imgcls import cli, failures, logs
code = 0
try:
    code = cli.main(sys.argv[1:])
except SystemExit as left:
    code = left.code
print(json.dumps([code, [name for name in {HEAVY!r} if name in sys.modules]]))
"""


@pytest.fixture
def be_rank(monkeypatch):
    def set_rank(rank, size):
        monkeypatch.setenv("HOROVOD_RANK", str(rank))
        monkeypatch.setenv("HOROVOD_SIZE", str(size))

    return set_rank


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["train", "--help"],
        ["plan", "--help"],
        ["evaluate", "--help"],
        ["show-data", "--help"],
        ["models", "--help"],
        ["plan", PIPELINE, "--size", "64"],
    ],
)
def test_light_commands_do_not_import_tensorflow(words):
    done = subprocess.run(
        [sys.executable, "-c", REPORT_MODULES, *words],
        capture_output=True,
        text=True,
        timeout=LIGHT_SECONDS,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []]


def test_plan_as_json_holds_the_numbers(capsys):
    assert cli.main(["plan", PIPELINE, "--size", "8", "--ranks-per-host", "4", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["size"], plan["local_size"], plan["per_rank_batch_size"]) == (8, 4, 8)


def test_plan_with_overrides_before_the_file_uses_them(capsys):
    assert cli.main(["plan", "--train.num_epochs", "3", PIPELINE, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_epochs"] == 3


def test_plan_of_launched_ranks_is_printed_by_the_root_alone(capsys, be_rank):
    be_rank(1, 2)
    assert cli.main(["plan", PIPELINE]) == 0
    assert capsys.readouterr().out == ""
    be_rank(0, 2)
    cli.main(["plan", PIPELINE])
    assert "2 ranks x 32" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["plan"],
        ["plan", PIPELINE, "--size", "0"],
        ["plan", PIPELINE, "--size", "x"],
        ["plan", PIPELINE, "--siz", "2"],
        ["plan", PIPELINE, "--size", "3"],
        ["plan", PIPELINE, "--train.sed", "3"],
        ["plan", "absent.yaml"],
        ["train", "absent.yaml"],
        ["train", PIPELINE, "--train.global_batch_size", "5000"],
        ["evaluate", "absent.keras"],
    ],
)
def test_wrong_usage_exits_with_2_and_one_message(words, capsys):
    assert cli.exit_code_of(lambda: cli.main(words)) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert "Traceback" not in errors


def test_train_in_a_directory_that_holds_a_run_is_refused_before_tensorflow(tmp_path, capsys):
    (tmp_path / "config.yaml").touch()
    words = ["train", PIPELINE, "--run_dir", str(tmp_path)]
    assert cli.exit_code_of(lambda: cli.main(words)) == 2
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize(
    "model",
    [
        "{name: keras_file, path: absent.keras}",
        "{name: keras_application, application: VGG16, weights: absent.keras}",
    ],
)
def test_train_of_a_model_from_an_absent_file_exits_with_4_before_tensorflow(
    model, tmp_path, capsys
):
    words = ["train", PIPELINE, "--model", model, "--run_dir", str(tmp_path / "run")]
    assert cli.exit_code_of(lambda: cli.main(words)) == 4
    assert "absent.keras: no such file" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_evaluate_of_a_directory_without_a_model_exits_with_4(tmp_path, capsys):
    assert cli.exit_code_of(lambda: cli.main(["evaluate", str(tmp_path)])) == 4
    assert "model.keras" in capsys.readouterr().err


def failing(error):
    def action():
        raise error

    return action


ERRORS = [
    (ConfigError("a.b", got=1, expected="2", fix="write 2"), 2),
    (SetupError("no Horovod", fix="install it"), 2),
    (RankMismatchError("differ"), 2),
    (DataError("no data"), 3),
    (CheckpointError("no model"), 4),
    (PeerFailedError("a peer failed"), 5),
    (HangError("hangs"), 6),
    (RootFailedError("a callback failed"), 5),
    (NonFiniteError("NaN"), 7),
    (ValueError("a bug"), 1),
]


@pytest.mark.parametrize(("error", "exit_code"), ERRORS, ids=lambda value: type(value).__name__)
def test_exit_code_is_that_of_the_error_and_in_the_docs(error, exit_code, capsys):
    assert cli.exit_code_of(failing(error)) == exit_code
    assert str(error) in capsys.readouterr().err
    table = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    row = next(line for line in table.splitlines() if line.startswith(f"| {exit_code} |"))
    assert type(error).__name__ in row or exit_code == 1


def test_interrupt_exits_with_130_and_says_what_remains(capsys, monkeypatch):
    logs.stop()
    monkeypatch.setattr(failures.process_state, "remains", "")
    assert cli.exit_code_of(failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "interrupted\n")
    monkeypatch.setattr(failures.process_state, "remains", "log and metrics are in runs/x")
    assert cli.exit_code_of(failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "interrupted; log and metrics are in runs/x\n")


def test_same_error_on_another_rank_waits_for_the_root_and_says_its_rank(
    capsys, monkeypatch, be_rank
):
    waited = []
    monkeypatch.setattr(cli.time, "sleep", waited.append)
    be_rank(1, 2)
    assert cli.exit_code_of(failing(ERRORS[0][0])) == 2
    assert waited == [cli.WAIT_FOR_ROOT_SECONDS]
    assert capsys.readouterr().err.startswith("[rank 1/2] error: a.b: got 1")


def test_data_error_on_another_rank_is_said_at_once(capsys, monkeypatch, be_rank):
    monkeypatch.setattr(cli.time, "sleep", failing(AssertionError("waited")))
    # Only before the ranks have joined, all fail alike.
    monkeypatch.setattr(process_state, "has_joined_ranks", True)
    be_rank(1, 2)
    assert cli.exit_code_of(failing(DataError("no data"))) == 3
    assert capsys.readouterr().err == "[rank 1/2] error: no data\n"


def test_end_because_of_a_peer_is_said_by_the_root_alone(capsys, be_rank):
    be_rank(1, 2)
    assert cli.exit_code_of(failing(PeerFailedError("a peer failed"))) == 5
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", ["train", "evaluate", "plan", "prepare", "doctor", "bench"])
def test_verbose_and_quiet_together_are_a_usage_error(command, capsys):
    words = [command, "--verbose", "--quiet"]
    assert cli.exit_code_of(lambda: cli.main(words)) == 2
    assert "not allowed with argument --verbose" in capsys.readouterr().err


def test_verbose_shows_where_an_error_came_from(capsys):
    cli.exit_code_of(failing(DataError("no data")), is_verbose=True)
    assert "Traceback" in capsys.readouterr().err


def test_error_that_tensorflow_wrapped_is_reported_as_what_it_is(capsys, monkeypatch):
    monkeypatch.setattr(process_state, "graph_error", RankMismatchError("out of step"))
    assert cli.exit_code_of(failing(RuntimeError("wrapped"))) == 2
    assert capsys.readouterr().err == "error: out of step\n"


def test_error_that_echoes_the_end_of_a_peer_exits_with_5(capsys):
    class OpError(Exception):
        """As TensorFlow calls the base of its errors."""

    assert cli.exit_code_of(failing(OpError("[gloo/pair] Connection closed by peer"))) == 5
    assert capsys.readouterr().err.startswith("error: another rank exited")
    assert cli.exit_code_of(failing(OpError("out of memory"))) == 1
    assert cli.exit_code_of(failing(RuntimeError("Connection closed by peer"))) == 1
