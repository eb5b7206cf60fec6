"""`hvd-imgcls init`: a pipeline for a folder of images."""

import numpy as np
import PIL.Image
import pytest

from hvd_imgcls import cli
from hvd_imgcls.config import load_config
from hvd_imgcls.workflows.initializing.choosing import choose, fit_into
from hvd_imgcls.workflows.initializing.looking import look_at


def write(root, counts, size, mode="RGB"):
    pixels = np.random.default_rng(0).integers(0, 256, (size, size + 7, 3), np.uint8)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            PIL.Image.fromarray(pixels).convert(mode).save(root / name / f"{number}.png")
    return root


def test_small_grey_images_with_rare_classes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "photos", {"a": 100, "b": 20}, size=30, mode="L")
    assert cli.main(["init", "photos", "--no-measure"]) == 0
    said = capsys.readouterr().out
    assert "horovodrun -np 2 hvd-imgcls train photos.yaml" in said
    config = load_config("photos.yaml")
    assert (config.data.image_size, config.data.num_channels) == (28, 1)
    assert config.model.name == "resnet20"
    assert config.train.class_weights == "balanced"
    assert config.train.global_batch_size == 8
    assert cli.exit_code_of(lambda: cli.main(["init", "photos", "--no-measure"])) == 2
    assert "photos.yaml, which exists" in capsys.readouterr().err
    # What was written can be planned.
    assert cli.main(["plan", "photos.yaml"]) == 0


@pytest.mark.parametrize(
    ("side", "options", "model", "size"),
    [
        (300, [], "keras_application", 224),
        (140, [], "keras_application", 128),
        (70, [], "keras_application", 96),
        (300, ["--from-scratch"], "resnet18", 224),
    ],
)
def test_photographs_in_split_folders(tmp_path, side, options, model, size):
    for split, count in (("train", 20), ("val", 5)):
        write(tmp_path / "photos" / split, {"a": count, "b": count}, size=side)
    out = tmp_path / "mine.yaml"
    words = ["init", str(tmp_path / "photos"), "--out", str(out), "--no-measure", *options]
    assert cli.main(words) == 0
    config = load_config(out)
    assert (config.model.name, config.data.image_size) == (model, size)
    assert (config.data.source.train_folder, config.data.source.held_out_folder) == ("train", "val")
    assert config.train.class_weights == "none"


def test_a_slow_machine_gets_smaller_images_then_fewer_epochs(tmp_path):
    choice = choose(look_at(write(tmp_path / "photos", {"a": 20, "b": 20}, size=300)))
    assert (choice.image_size, choice.num_epochs) == (224, 30)
    assert fit_into(choice, 3000, 3600) == choice
    faster = fit_into(choice, 7200, 3600)
    assert (faster.image_size, faster.num_epochs) == (128, 30)
    slowest = fit_into(choice, 72000, 3600)
    assert (slowest.image_size, slowest.num_epochs) == (96, 8)


@pytest.mark.slow
def test_measured_speed_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "photos", {"a": 30, "b": 30}, size=24)
    assert cli.main(["init", "photos", "--quiet"]) == 0
    assert "images/s," in (tmp_path / "photos.yaml").read_text()
    assert "measuring a few steps" in capsys.readouterr().out
