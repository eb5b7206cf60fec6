"""`hvd-imgcls plan` where there are no images, from their numbers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hvd_imgcls import cli

ROOT = Path(__file__).parents[2]
NUMBERS = ["--num-train", "1000", "--num-held-out", "200", "--num-classes", "7"]
PIPELINE = """
data: {source: SOURCE, image_size: 32}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 64, num_epochs: 2}
"""
FOLDER = "{name: image_folder, path: nowhere}"
TFDS = "{name: tfds, dataset: nothing, data_dir: nowhere}"


@pytest.fixture
def pipeline(tmp_path):
    def write(source=FOLDER):
        path = tmp_path / "pipeline.yaml"
        path.write_text(PIPELINE.replace("SOURCE", source))
        return str(path)

    return write


@pytest.mark.parametrize("source", [FOLDER, TFDS])
def test_a_plan_from_numbers_needs_neither_images_nor_tensorflow(pipeline, source):
    say = "import sys; from hvd_imgcls import cli; cli.main(sys.argv[1:]); "
    say += "print('tensorflow' in sys.modules)"
    words = ["plan", pipeline(source), "--size", "4", *NUMBERS]
    done = subprocess.run(
        [sys.executable, "-c", say, *words], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "1,000 training and 200 held-out images, 7 classes" in done.stdout
    assert "64 per step = 4 ranks x 16" in done.stdout
    assert "15 steps; 40 examples" in done.stdout
    assert "not checked" in done.stdout
    assert "whether the images exist and can be read" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


def test_the_labelled_part_is_that_of_classes_of_equal_size(pipeline, capsys):
    words = ["plan", pipeline(), *NUMBERS, "--json", "--data.labelled_fraction", "0.1"]
    assert cli.main(words) == 0
    plan = json.loads(capsys.readouterr().out)
    # Of classes of 143 and 142 images.
    assert plan["num_train_examples"] == 7 * 14
    assert "the number of images in each class, taken to be equal" in plan["not_checked"]


def test_without_numbers_everything_is_checked(capsys):
    assert cli.main(["plan", str(ROOT / "pipelines" / "digits_cnn.yaml"), "--json"]) == 0
    assert "not_checked" not in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (NUMBERS[:4], "--num-classes: got 'only --num-train and --num-held-out'"),
        (NUMBERS[2:4], "--num-train and --num-classes: got 'only --num-held-out'"),
        ([*NUMBERS, "--data.image_size", "null"], "data.image_size: got None"),
        ([*NUMBERS, "--data.source", "{name: digits}"], "--num-train: got 1000"),
        (
            [
                *NUMBERS,
                "--data",
                "{source: {name: records, path: x}, image_size: 8, placement: {name: horizontal}}",
            ],
            "the number of images of every host",
        ),
        (["--num-train", "0", *NUMBERS[2:]], "--num-train"),
    ],
)
def test_what_is_missing_or_contradicts_is_named(pipeline, capsys, words, said):
    assert cli.exit_code_of(lambda: cli.main(["plan", pipeline(), *words])) == 2
    assert said in capsys.readouterr().err
