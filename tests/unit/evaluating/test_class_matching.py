"""Classes of images and of a model are matched by name, never by their number."""

import json
import shutil

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from hvd_imgcls import cli, distributed, logs
from hvd_imgcls.config import load_config
from hvd_imgcls.errors import CheckpointError, ConfigError, DataError
from hvd_imgcls.workflows.evaluating.class_matching import match_classes
from hvd_imgcls.workflows.train import train
from tests.support.colour_runs import COLOURS, write_images, write_run

MODEL = ("dark", "light", "red")


@pytest.fixture(scope="module", autouse=True)
def _process_of_several_runs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed.devices, "configure", lambda **_: None)
        yield
    logs.stop()


@pytest.fixture(scope="module")
def run_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    images = write_images(folder / "own", {name: name for name in COLOURS}, 4)
    return write_run(folder / "run", images)


def evaluate(run_path, source, out, *options):
    """The exit code and the metrics of an evaluation on other images."""
    words = ["evaluate", str(run_path), "--data.source", source, "--out", str(out), *options]
    code = cli.exit_code_of(lambda: cli.main(words))
    return code, json.loads((out / "evaluation.json").read_text()) if code == 0 else None


def folder(path):
    return f"{{name: image_folder, path: {path}}}"


def test_a_renamed_class_is_refused_with_both_lists_until_it_is_mapped(run_path, tmp_path, capsys):
    images = write_images(tmp_path / "i", {"light": "light", "dark": "dark", "C": "red"})
    assert evaluate(run_path, folder(images), tmp_path) == (3, None)
    said = capsys.readouterr().err
    assert "model (3): dark, light, red" in said
    assert "images (3): C, dark, light" in said
    assert "--class-map 'red=C'" in said
    assert "Traceback" not in said
    for pair in ("red=C", "C=red"):
        code, metrics = evaluate(run_path, folder(images), tmp_path, "--class-map", pair)
        assert (code, metrics["top1"]) == (0, 1.0)
        assert metrics["class_names"] == list(MODEL)


def test_all_of_other_images_are_evaluated_unless_they_come_with_a_split(
    run_path, tmp_path, capsys
):
    images = write_images(tmp_path / "i", {name: name for name in COLOURS})
    code, metrics = evaluate(run_path, folder(images), tmp_path)
    assert (code, metrics["num_correct"], metrics["num_examples"]) == (0, 72, 72)
    said = capsys.readouterr().out
    assert "\naccuracy 1.0000 (72 of 72; " in f"\n{said}"
    assert "(72 of 72 images)" in said
    table = pq.read_table(tmp_path / "predictions.parquet")
    assert sorted(table["image"].to_pylist()) == [
        f"{name}/{n:02}.png" for name in COLOURS for n in range(24)
    ]
    assert (
        evaluate(run_path, folder(images), tmp_path, "--split", "held_out")[1]["num_examples"] == 15
    )
    assert "(15 of 72 images: the held-out split; --split all" in capsys.readouterr().out
    with_split = folder(images)[:-1] + ", train_folder: train, held_out_folder: val}"
    for split, count in (("train", 3), ("val", 2)):
        write_images(images / split, {name: name for name in COLOURS}, count)
    assert evaluate(run_path, with_split, tmp_path)[1]["num_examples"] == 6
    assert evaluate(run_path, with_split, tmp_path, "--split", "all")[1]["num_examples"] == 15
    # Those of the run, by another path: only what it was not trained with.
    (tmp_path / "link").symlink_to(run_path.parent / "own")
    assert evaluate(run_path, folder(tmp_path / "link"), tmp_path)[1]["num_examples"] == 3


@pytest.mark.parametrize("cache", ["decoded", "encoded"])
def test_all_images_are_evaluated_from_memory_too(run_path, tmp_path, cache):
    images = write_images(tmp_path / "i", {"C": "red", "dark": "dark", "light": "light"}, 9)
    options = ["--class-map", "red=C", "--data.cache", cache]
    metrics = evaluate(run_path, folder(images), tmp_path, *options)[1]
    assert (metrics["num_correct"], metrics["num_examples"]) == (27, 27)


def test_labels_that_are_numbered_otherwise_are_matched_by_their_names(run_path, tmp_path):
    images = write_images(tmp_path / "i", {name: name for name in COLOURS})
    order = ["red", "dark", "light"]
    rows = [(f"i/{name}/{n:02}.png", order.index(name), name) for name in order for n in range(24)]
    columns = dict(zip(("path", "label", "class_name"), zip(*rows, strict=True), strict=True))
    table = pa.table({name: list(values) for name, values in columns.items()})
    pyarrow.csv.write_csv(table, tmp_path / "t.csv")
    assert images.is_dir()
    source = f"{{name: manifest, path: {tmp_path / 't.csv'}}}"
    assert evaluate(run_path, source, tmp_path)[1]["top1"] == 1.0


def test_a_subset_of_the_classes_has_metrics_over_those_that_are_there(run_path, tmp_path):
    # A third of the light images is red: they are predicted as a class that is not there.
    images = write_images(tmp_path / "i", {"light": "light", "dark": "dark"})
    write_images(tmp_path / "more", {"red": "red"}, 8)
    for number, file in enumerate(sorted((tmp_path / "more" / "red").iterdir())):
        shutil.copy(file, images / "light" / f"{number:02}.png")
    code, metrics = evaluate(run_path, folder(images), tmp_path)
    assert code == 0
    rows = {row["name"]: row for row in metrics["per_class"]}
    assert rows["red"]["support"] == 0
    wrong = rows["red"]["num_predicted"]
    assert wrong > 0
    recall = 1 - wrong / rows["light"]["support"]
    assert rows["light"]["recall"] == pytest.approx(recall)
    assert metrics["balanced_accuracy"] == pytest.approx((1 + recall) / 2)
    assert metrics["averages"]["macro"]["recall"] == pytest.approx((1 + recall) / 2)
    assert metrics["averages"]["macro"]["precision"] == 1.0
    low, high = metrics["intervals"]["macro_f1"]
    assert low <= metrics["averages"]["macro"]["f1"] <= high


def test_an_exported_model_is_matched_by_its_names_too(run_path, tmp_path, capsys):
    shutil.copy(run_path / "model.keras", tmp_path / "model.keras")
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfdark\r\nlight\r\nred\r\n")
    images = write_images(tmp_path / "i", {"light": "light", "dark": "dark", "C": "red"})
    pipeline = ["--pipeline", str(run_path / "config.yaml")]
    words = (tmp_path / "model.keras", folder(images), tmp_path, *pipeline)
    assert evaluate(*words)[0] == 3
    assert "images (3): C, dark, light" in capsys.readouterr().err
    assert evaluate(*words, "--class-map", "red=C")[1]["top1"] == 1.0


def test_names_given_in_another_order_than_those_of_the_run_are_refused(run_path, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("light\ndark\nred\n")
    words = ["--classes", str(tmp_path / "names.txt")]
    assert evaluate(run_path, folder(tmp_path), tmp_path, *words)[0] == 2
    said = capsys.readouterr().err
    assert "names.txt with light, dark, red" in said
    assert "in their order: dark, light, red" in said


@pytest.mark.parametrize("replaces", ["auto", "never"])
def test_a_model_of_a_run_on_as_many_other_classes_gets_a_new_last_layer(
    run_path, tmp_path, replaces
):
    images = write_images(tmp_path / "i", {"light": "light", "dark": "dark", "C": "red"})
    model = f"{{name: keras_file, path: {run_path / 'model.keras'}, replace_head: {replaces}}}"
    options = [f"--model={model}", f"--data.source={folder(images)}", "--train.num_epochs=1"]
    options += [f"--run_dir={tmp_path / 'run'}", "--logging.tensorboard=false"]
    config = load_config(run_path / "config.yaml", options)
    if replaces == "never":
        with pytest.raises(CheckpointError, match=r"dark, light, red, not C, dark, light"):
            train(config)
    else:
        train(config)
        assert "is replaced by a new one" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.parametrize(
    ("pairs", "error", "said"),
    [
        ([], DataError, r"unknown to the model: rouge.*--class-map 'red=rouge'"),
        (["red"], ConfigError, "expected OLD=NEW, with a class of the model"),
        (["rot=rouge"], ConfigError, "got 'rot=rouge'"),
        (["red=rouge", "dark=rouge"], ConfigError, "'rouge' for both 'red' and 'dark'"),
    ],
)
def test_what_cannot_be_matched_is_named(pairs, error, said):
    with pytest.raises(error, match=f"(?s){said}"):
        match_classes(["dark", "light", "rouge"], MODEL, pairs, counts=[1, 1, 1])


def test_several_classes_may_be_one_of_the_model_and_names_may_contain_the_sign():
    names = ["a=b", "dark", "scarlet", "unused"]
    pairs = ["light=a=b", "red=scarlet"]
    counts = [1, 1, 1, 0]
    assert match_classes(names, MODEL, pairs, counts=counts) == [1, 0, 2, -1]
    assert match_classes(["x", "red"], MODEL, ["red=x"], counts=[1, 1]) == [2, 2]
    swapped = ["dark=light", "light=dark"]
    assert match_classes(["dark", "light"], MODEL, swapped, counts=[1, 1]) == [1, 0]
