"""`hvd-imgcls plan` where there are no images, from their numbers."""

import json
import re
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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "{name: keras_file, path: absent.keras}"], "absent.keras: no such file"),
        (["--data.image_size", "1"], "expected images of at least 2 x 2"),
        (["--model", "{name: fast_cnn}"], "expected images of at least 24 x 24"),
        (["--model", "{name: vit, patch_size: 3}"], "model.patch_size: got 3"),
        (
            [
                *("--evaluation.views", "flip_and_shift", "--data.image_size", "1"),
                *("--model", "{name: plain_cnn}"),
            ],
            "evaluation.views: got 'flip_and_shift for images of 1 x 1 pixels'",
        ),
        (["--augment", "[{name: random_crop, padding: 9}]"], "augment.0.padding: got 9"),
        (["--augment", "[{name: cutout, size: 9}]"], "augment.0.size: got 9"),
    ],
)
def test_what_a_run_would_refuse_is_refused(tmp_path, capsys, options, said):
    for name in ("a", "b"):
        for number in range(40):
            path = tmp_path / "images" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    words = ["plan", str(tmp_path / "p.yaml"), *options]
    text = PIPELINE.replace("SOURCE", "{name: image_folder, path: %s}" % (tmp_path / "images"))
    (tmp_path / "p.yaml").write_text(text.replace("image_size: 32", "image_size: 8"))
    assert cli.exit_code_of(lambda: cli.main(words)) in (2, 4)
    assert said in capsys.readouterr().err


def test_a_plan_from_numbers_says_which_file_of_the_model_is_not_here(pipeline, capsys):
    model = "{name: keras_file, path: absent.keras}"
    assert cli.main(["plan", pipeline(), *NUMBERS, "--model", model]) == 0
    assert "model.path: absent.keras, which is not on this machine" in capsys.readouterr().out


def test_a_few_steps_say_time_and_memory_of_the_run(pipeline, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path, options = pipeline("{name: digits}"), ["--data.image_size=null", "--quiet"]
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["plan", path, "--measure", "--size", "2", *options]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^measured: \d+ steps .* without the allreduce\)$", said, re.M)
    assert re.search(r"^time: about .*\(training .* s, evaluation .* s\)$", said, re.M)
    assert re.search(r"^memory: \d\.\d GiB per rank", said, re.M)
    assert cli.main(["plan", path, "--measure", "--json", *options]) == 0
    measured = json.loads(capsys.readouterr().out)["measured"]
    assert measured["num_steps"] >= 3
    assert 0 < measured["step_seconds"] < measured["first_step_seconds"]
    assert measured["peak_bytes"] > 2**27
    assert sorted(tmp_path.rglob("*")) == before


def test_measuring_needs_images_and_one_process(pipeline, capsys, monkeypatch):
    words = ["plan", pipeline(), "--measure"]
    assert cli.exit_code_of(lambda: cli.main([*words, *NUMBERS])) == 2
    assert "--measure: got 'numbers instead of images'" in capsys.readouterr().err
    monkeypatch.setenv("HOROVOD_RANK", "0")
    monkeypatch.setenv("HOROVOD_SIZE", "2")
    assert cli.exit_code_of(lambda: cli.main(words)) == 2
    assert "--measure: got '2 launched ranks'" in capsys.readouterr().err
