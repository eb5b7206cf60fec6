from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hvd_imgcls import cli, distributed, logs
from hvd_imgcls.config import load_config
from hvd_imgcls.data import open_source
from hvd_imgcls.data.order.epoch_order import epoch_order
from hvd_imgcls.drawing.contact_sheet import blended, enlarged
from tests.support.pictures import contains

PIPELINE = str(Path(__file__).parents[2] / "pipelines" / "digits_cnn.yaml")


@pytest.fixture(autouse=True)
def _process_of_several_runs(monkeypatch):
    # Thread counts can be set once per process, before TensorFlow runs anything.
    monkeypatch.setattr(distributed.devices, "configure", lambda **_: None)
    yield
    logs.stop()


@pytest.fixture
def source():
    return open_source(load_config(PIPELINE).data.source)


def show(tmp_path, *words):
    out = tmp_path / "sheet.png"
    assert cli.main(["show-data", PIPELINE, "--out", str(out), *words]) == 0
    with Image.open(out) as sheet:
        return sheet.convert("RGB")


def test_sheet_shows_what_training_sees_without_and_with_changes(tmp_path, capsys, source):
    sheet = show(tmp_path, "--num", "2", "--augment.0", "{name: random_flip, probability: 1}")
    first = epoch_order(source.num_examples("train"), 0, 0)[:2]
    for image in source.images("train")[first]:
        assert contains(sheet, enlarged(image))
        assert contains(sheet, enlarged(image[:, ::-1]))
    said = capsys.readouterr().out
    assert source.name_of("train", int(first[0])) in said
    assert str(tmp_path / "sheet.png") in said


def test_mixed_targets_and_unused_examples_have_labels(tmp_path):
    words = ("--num", "3", "--train.global_batch_size", "1000")
    plain = show(tmp_path, *words)
    mixed = show(tmp_path, *words, "--augment", "[{name: mixup}]")
    # Two more lines under every row.
    assert mixed.height > plain.height


def test_held_out_images_are_shown_as_they_are(tmp_path, source):
    sheet = show(tmp_path, "--num", "5", "--split", "held_out")
    chosen = epoch_order(source.num_examples("held_out"), 0, 0)[:5]
    for image in source.images("held_out")[chosen]:
        assert contains(sheet, enlarged(image))


def test_more_examples_than_there_are_shows_all_of_an_epoch(tmp_path, capsys):
    show(tmp_path, "--num", "20", "--train.global_batch_size", "8", "--train.num_steps", "2",
         "--train.num_epochs", "null", "--schedule.warmup_epochs", "0")  # fmt: skip
    assert "16 examples of 8 by 8 pixels" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["--out", "absent/sheet.png"],
        ["--num", "0"],
        ["--num", "257"],
        ["--epoch", "41"],
        ["--epoch", "1", "--split", "held_out"],
        ["--split", "test"],
    ],
)
def test_wrong_options_are_said_before_anything_is_decoded(words, capsys, monkeypatch):
    monkeypatch.setattr(
        "hvd_imgcls.commands.show_data.import_tensorflow_quietly",
        lambda _: pytest.fail("too late"),
    )
    assert cli.exit_code_of(lambda: cli.main(["show-data", PIPELINE, *words])) == 2
    assert f"{words[-2]}: " in (said := capsys.readouterr().err) or words[0] in said


def test_one_rank_of_several_draws(tmp_path, monkeypatch):
    monkeypatch.setenv("HOROVOD_RANK", "1")
    monkeypatch.setenv("HOROVOD_SIZE", "2")
    out = tmp_path / "sheet.png"
    assert cli.main(["show-data", PIPELINE, "--out", str(out)]) == 0
    assert not out.exists()


def test_blended_names_the_parts_of_a_target_that_count():
    target = np.array([0.3, 0.001, 0.699, 0], np.float32)
    assert blended(target, ["cat", "dog", "owl", "ape"]) == (("owl", " 0.70"), ("cat", " 0.30"))
