"""`hvd-imgcls checkpoints`, and `train --from`."""

import keras
import numpy as np
import pytest

from hvd_imgcls import cli
from hvd_imgcls.checkpoints.store import CheckpointStore
from hvd_imgcls.config import load_config
from hvd_imgcls.workflows.train import Start, train

SMALL = (
    "--model={name: small_cnn}",
    "--train.num_epochs=2",
    "--schedule.warmup_epochs=0",
    "--checkpoint.every_epochs=1",
    "--logging={tensorboard: false, report: false}",
)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "a"
    train(load_config("digits_cnn", [*SMALL, f"--run_dir={path}"]))
    return path


def ran(*words):
    return cli.exit_code_of(lambda: cli.main(["checkpoints", *map(str, words)]))


def test_they_are_listed_with_what_a_continuation_would_do(run_dir, capsys):
    assert ran(run_dir) == 0
    header, first, second, last = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["checkpoint", "step", "epoch"]
    assert first.split()[:4] == ["step-00000022", "22", "1", "training"]
    assert "loss " in second
    assert last.startswith("the run is finished")


def test_damage_is_found_and_named(run_dir, tmp_path, capsys):
    assert ran(run_dir, "--verify") == 0
    assert capsys.readouterr().out == "step-00000022: sound\nstep-00000044: sound\n"
    store = CheckpointStore(run_dir / "checkpoints")
    path = store.entries()[0].path / "state.bin"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        assert ran(run_dir, "--verify") == 4
        said = capsys.readouterr()
        assert "state.bin" in said.out
        assert "1 damaged checkpoint" in said.err
    finally:
        path.write_bytes(content)


def test_one_becomes_a_keras_file_with_the_same_outputs(run_dir, tmp_path):
    file = tmp_path / "m.keras"
    assert ran(run_dir, "--export", file) == 0
    exported, trained = (keras.saving.load_model(p) for p in (file, run_dir / "model.keras"))
    images = np.arange(8 * 8 * 3).reshape(3, 8, 8, 1).astype("uint8")
    np.testing.assert_array_equal(exported(images), trained(images))
    assert ran(run_dir, "--export", file) == 2  # It exists.


@pytest.mark.parametrize("words", [["absent"], ["absent", "--verify"]])
def test_what_is_no_run_is_said(words, capsys):
    assert ran(*words) == 2
    assert "absent" in capsys.readouterr().err
    assert ran("absent", "--export", "m.keras") == 4


def test_a_run_begins_with_the_weights_of_another(run_dir, tmp_path):
    first = train(
        load_config("digits_cnn", [*SMALL, f"--run_dir={tmp_path / 'b'}"]),
        start=Start(weights=run_dir),
    )
    untrained = train(load_config("digits_cnn", [*SMALL, f"--run_dir={tmp_path / 'c'}"]))
    assert first.metrics["loss"] < untrained.metrics["loss"]


def test_another_architecture_is_an_error(run_dir, tmp_path):
    from hvd_imgcls.errors import CheckpointError

    options = [*SMALL, "--model={name: resnet20}", f"--run_dir={tmp_path / 'd'}"]
    with pytest.raises(CheckpointError, match="use the `model` section of that run"):
        train(load_config("digits_cnn", options), start=Start(weights=run_dir))
