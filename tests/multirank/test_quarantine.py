"""Bad images on real ranks: all agree on what is left out, and all end at the same step."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import pytest

from hvd_imgcls import distributed
from hvd_imgcls.config import load_config, to_yaml
from hvd_imgcls.data import open_images
from hvd_imgcls.data.bad_examples.log import BadExampleLog
from hvd_imgcls.data.order.epoch_order import epoch_order
from hvd_imgcls.data.pipeline.dataset import training_dataset
from hvd_imgcls.errors import BadImagesError
from hvd_imgcls.plan import make_plan, share_cores
from hvd_imgcls.workflows.evaluate import EvaluationOptions, evaluate_model
from hvd_imgcls.workflows.quarantine import PlannedImages, Quarantine
from hvd_imgcls.workflows.startup.ranks import Ranks
from hvd_imgcls.workflows.trained_model.test_time_augmentation import make_predict
from tests.support.counting import CountBatches
from tests.support.image_streams import SHIFT, make_config
from tests.support.launch import run_on_ranks
from tests.support.program import hvd_imgcls, running
from tests.unit.data.images import write_class_folders

# In epoch 1, of 24 training images, 8 per step.
FIRST, SECOND, THIRD = (int(epoch_order(24, 0, 0)[place]) for place in (13, 2, 6))


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """A folder with three bad training images and one bad held-out image."""
    root = tmp_path_factory.mktemp("spoilt")
    write_class_folders(root / "images", {"cat": 14, "dog": 16})
    source = open_images(make_config(root / "images", root))
    for split, example in (
        ("train", FIRST),
        ("train", SECOND),
        ("train", THIRD),
        ("held_out", 5),
    ):
        Path(source.name_of(split, example)).write_bytes(b"<html>")
    return root / "images"


def train_and_evaluate(pipeline, directory):
    """Returns what this rank raised, when, and what it measured."""
    config = load_config(pipeline)
    source, collectives = open_images(config), distributed.current()
    topology = collectives.topology
    plan = make_plan(
        config,
        num_train_examples=source.num_examples("train"),
        num_held_out_examples=source.num_examples("held_out"),
        num_classes=2,
        topology=topology,
    )
    path, bad_example_log = Path(directory) / f"{topology.size}.jsonl", BadExampleLog()
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((12, 12, 3)), layers.Flatten(), layers.Dense(2, kernel_initializer="ones")]
    )
    steps, count = [], CountBatches(plan)
    result = {"error": None}
    try:
        metrics = evaluate_model(
            make_predict(model, "one"),
            source,
            config,
            plan.evaluation,
            ranks=Ranks(collectives=collectives, threads=share_cores(1, 1)),
            options=EvaluationOptions(quarantine_path=path),
        ).metrics
        result["metrics"] = json.dumps(metrics)
        model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
        model.fit(
            training_dataset(
                source, config, plan, rank=topology.rank, bad_example_log=bad_example_log
            ),
            epochs=2,
            steps_per_epoch=plan.batches_per_epoch,
            callbacks=[
                keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: steps.append(1)),
                count,
                Quarantine(
                    "training",
                    PlannedImages(source, config, plan),
                    count.position,
                    bad_example_log,
                    collectives,
                    path,
                ),
            ],
            shuffle=False,
            verbose=0,
        )
    except BadImagesError as error:
        result["error"] = str(error)
    return {**result, "num_steps": len(steps)}


def write_pipeline(spoilt, directory, **data):
    config = make_config(spoilt, directory, (SHIFT,), bad_examples="quarantine", **data)
    path = directory / "quarantine.yaml"
    path.write_text(to_yaml(config))
    return str(path)


@pytest.mark.ranks(2)
def test_two_ranks_leave_out_what_one_leaves_out(spoilt, tmp_path):
    pipeline = write_pipeline(spoilt, tmp_path, max_bad_fraction=0.5)
    both = run_on_ranks(train_and_evaluate, 2, arguments=(pipeline, str(tmp_path)))
    (alone,) = run_on_ranks(train_and_evaluate, 1, arguments=(pipeline, str(tmp_path)))
    assert both == [alone, alone]
    assert alone["error"] is None
    assert json.loads(alone["metrics"])["num_unreadable"] == 1
    of_one, of_two = (
        [json.loads(line) for line in (tmp_path / f"{size}.jsonl").read_text().splitlines()]
        for size in (1, 2)
    )
    # Every rank has half of the 8 images of a step.
    ranks = {(line["split"], line["example"]): line.pop("rank") for line in of_two}
    assert ranks == {
        ("held_out", 5): 1,
        ("train", FIRST): 1,
        ("train", SECOND): 0,
        ("train", THIRD): 1,
    }
    assert [line.pop("rank") for line in of_one] == [0, 0, 0, 0]
    assert of_one == of_two
    assert [line["step"] for line in of_two] == [None, 1, 1, 2]


@pytest.mark.ranks(2)
def test_too_many_end_all_ranks_at_the_same_step(spoilt, tmp_path):
    pipeline = write_pipeline(spoilt, tmp_path, max_bad_fraction=0.05)  # 2 of 24
    both = run_on_ranks(train_and_evaluate, 2, arguments=(pipeline, str(tmp_path)))
    assert both[0] == both[1]
    assert both[0]["num_steps"] == 3
    assert "3 of 24 training images cannot be read, more than the 2 allowed" in both[0]["error"]


@pytest.mark.slow
@pytest.mark.ranks(2)
def test_the_program_names_rank_epoch_and_step_of_a_bad_image(tmp_path):
    write_class_folders(tmp_path / "images", {"cat": 14, "dog": 16})
    pipeline = write_pipeline(tmp_path / "images", tmp_path)
    name = open_images(load_config(pipeline)).name_of("train", FIRST)
    Path(name).write_bytes(b"<html>")
    words = hvd_imgcls("train", pipeline, "--data.bad_examples", "fail")
    with running(words, size=2, cwd=tmp_path) as program:
        assert program.wait(120) == 3, program.output
        output = program.output
    assert output.count("cannot be read as an image (") == 1, output
    assert f"error: {name}: cannot be read" in output
    # At place 13: in the second batch of 8, in the part of rank 1.
    assert "[rank 1, epoch 1, step 2]" in output
    assert "Traceback (most recent call last)" not in output, output


@pytest.mark.slow
@pytest.mark.ranks(2)
def test_the_program_says_once_that_there_are_too_many(spoilt, tmp_path):
    pipeline = write_pipeline(spoilt, tmp_path, max_bad_examples=2)
    words = hvd_imgcls("train", pipeline, "--train.check_every_steps", "1")
    with running(words, size=2, cwd=tmp_path) as program:
        assert program.wait(120) == 3, program.output
        output = program.output
    assert output.count("images cannot be read, more than the 1 allowed") == 1, output
    assert "2 of 24 training images" in output  # both are in the first step
    assert "Traceback (most recent call last)" not in output, output
    lines = (tmp_path / "runs" / "quarantine-1" / "quarantine.jsonl").read_text().splitlines()
    assert len(lines) == 2
