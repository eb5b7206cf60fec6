import json

import numpy as np
import pytest
from PIL import Image

from hvd_imgcls import cli

# Of both learners: two steps of an epoch, and a part of a step.
NUM_TRAIN, NUM_TEST = 260, 20


@pytest.mark.parametrize(
    "words",
    [
        ["step", "--only", "a"],
        ["step", "--data", "x"],
        ["peers", "--torch-python", "x"],
        ["step", "--plain-epochs", "3"],
        ["input", "--only", "z"],
        ["peers", "--cifar", "x"],
        ["step", "--pairs", "0"],
        ["time-to-accuracy", "--without", "torch"],
    ],
)
def test_options_that_do_not_go_together_are_refused(words, capsys):
    assert cli.exit_code_of(lambda: cli.main(["bench", *words])) == 2
    assert words[1] in capsys.readouterr().err


def test_race_without_images_or_pipeline_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    race = ["bench", "time-to-accuracy"]
    assert cli.exit_code_of(lambda: cli.main(race)) == 2
    assert "--cifar" in capsys.readouterr().err
    assert cli.exit_code_of(lambda: cli.main([*race, "--cifar", str(tmp_path)])) == 2
    assert "pipelines/cifar10_fast.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "value"), [("--target", "1.5"), ("--plain-epochs", "0")])
def test_race_to_what_cannot_be_is_refused(option, value, tmp_path, capsys):
    pipeline = tmp_path / "x.yaml"
    pipeline.touch()
    words = ["--cifar", str(tmp_path), "--pipeline", str(pipeline), option, value]
    assert cli.exit_code_of(lambda: cli.main(["bench", "time-to-accuracy", *words])) == 2
    assert option in capsys.readouterr().err


@pytest.fixture
def cifar(tmp_path):
    random = np.random.default_rng(0)
    for split, number in (("train", NUM_TRAIN), ("test", NUM_TEST)):
        for index in range(number):
            path = tmp_path / split / f"class {index % 10}" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.ranks(2)
def test_race_is_timed_from_launch_to_target(cifar, tmp_path):
    out = tmp_path / "numbers.json"
    words = ["--cifar", str(cifar), "--target", "0", "--plain-epochs", "1", "--out", str(out)]
    small = ["train.global_batch_size=64", "train.num_steps=2"]
    small += ["schedule={name: constant, base_learning_rate: 0.1}"]
    assert cli.main(["bench", "time-to-accuracy", *words, "--override", *small]) == 0
    results = json.loads(out.read_text())["results"]
    (race,) = results["races"]
    assert race["ours"]["reached"]
    assert race["plain"]["reached"]
    assert len(race["plain"]["accuracies"]) == 1
    assert results["plain / ours"] == [race["plain"]["seconds"] / race["ours"]["seconds"]]
