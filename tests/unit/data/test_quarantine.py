"""Quarantine: bad images leave blanks of weight 0, the same on any number of ranks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from hvd_imgcls.config import parse_config
from hvd_imgcls.data import open_images
from hvd_imgcls.data.bad_examples.log import BadExampleLog
from hvd_imgcls.data.bad_examples.unreadable import naming_unreadable_images
from hvd_imgcls.data.order.epoch_order import epoch_order
from hvd_imgcls.data.pipeline.dataset import training_dataset
from hvd_imgcls.distributed.single_process import SingleProcessCollectives
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.errors import BadImagesError, DataError
from hvd_imgcls.losses import build_loss
from hvd_imgcls.plan import EvaluationPlan, make_plan, share_cores
from hvd_imgcls.plan.arithmetic import max_bad_examples
from hvd_imgcls.workflows.evaluate import EvaluationOptions, evaluate_model
from hvd_imgcls.workflows.progress import StopAfterSteps
from hvd_imgcls.workflows.quarantine import PlannedImages, Quarantine
from hvd_imgcls.workflows.startup.ranks import Ranks
from hvd_imgcls.workflows.trained_model.test_time_augmentation import make_predict
from tests.support.counting import CountBatches
from tests.support.image_streams import CROP, SHIFT, assert_equal, make_config
from tests.unit.data.bad_inputs.reading import PIPELINE
from tests.unit.data.images import encoded, write_class_folders

# Of 24 training images. The last one ends in the middle: a crop above its end can be read.
BAD = {3: b"", 10: b"<html>", 17: encoded(".jpg", 3)[:200]}
ALLOWED = {"bad_examples": "quarantine", "max_bad_fraction": 0.5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    write_class_folders(root, {"cat": 14, "dog": 16})
    return root


@pytest.fixture(scope="module")
def spoilt(folder, tmp_path_factory):
    """A copy in which the training images of BAD and held-out image 4 are broken."""
    copy = tmp_path_factory.mktemp("spoilt") / "images"
    shutil.copytree(folder, copy)
    source = open_images(make_config(copy, copy.parent))
    for example, content in BAD.items():
        Path(source.name_of("train", example)).write_bytes(content)
    Path(source.name_of("held_out", 4)).unlink()
    Path(source.name_of("held_out", 4)).symlink_to("nowhere")
    return copy


def plan_of(source, config, size):
    return make_plan(
        config,
        num_train_examples=source.num_examples("train"),
        num_held_out_examples=source.num_examples("held_out"),
        num_classes=2,
        topology=Topology.on_hosts(0, size, size),
        num_cores=2 * size,
    )


def stream(config, size=1):
    """Returns images, targets and weights of all steps, and what every rank has noted."""
    source = open_images(config)
    plan = plan_of(source, config, size)
    parts, noted = [], []
    for rank in range(size):
        noted.append(BadExampleLog())
        dataset = training_dataset(source, config, plan, rank=rank, bad_example_log=noted[-1])
        batches = zip(*dataset.as_numpy_iterator(), strict=True)
        parts.append([np.stack(arrays) for arrays in batches])
    joined = [np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True)]
    return joined, [bad_example_log.first_epochs() for bad_example_log in noted]


def examples_of_steps(config, num_steps=8):
    orders = [epoch_order(24, config.train.seed, epoch) for epoch in range(3)]
    return np.concatenate(orders)[: 8 * num_steps].reshape(num_steps, 8)


@pytest.mark.parametrize("cache", ["none", "decoded"])
def test_bad_images_have_no_weight_and_the_others_are_untouched(folder, spoilt, tmp_path, cache):
    config = make_config(spoilt, tmp_path, (SHIFT,), cache=cache, **ALLOWED)
    (images, targets, weights), noted = stream(config)
    is_bad = np.isin(examples_of_steps(config), list(BAD))
    np.testing.assert_array_equal(weights, np.where(is_bad, 0, 1).astype(np.float32))
    assert not images[is_bad].any()
    (whole, all_targets, _), _ = stream(make_config(folder, tmp_path, (SHIFT,)))
    np.testing.assert_array_equal(images[~is_bad], whole[~is_bad])
    np.testing.assert_array_equal(targets, all_targets)
    assert noted == [dict.fromkeys(BAD, 0)]


@pytest.mark.parametrize(
    ("augment", "size"),
    [((CROP, SHIFT), 4), pytest.param((SHIFT, {"name": "mixup"}), 2, marks=pytest.mark.slow)],
)
def test_any_number_of_ranks_gives_the_same_pixels_and_weights(spoilt, tmp_path, augment, size):
    config = make_config(spoilt, tmp_path, augment, **ALLOWED)
    alone, _ = stream(config)
    arrays, noted = stream(config, size)
    assert_equal(arrays, alone)
    assert set().union(*noted) == set(BAD)


def test_a_good_image_that_is_mixed_with_a_bad_one_has_no_weight_either(spoilt, tmp_path):
    config = make_config(spoilt, tmp_path, (SHIFT, {"name": "cutmix"}), **ALLOWED)
    (_, _, weights), _ = stream(config)
    is_bad = np.isin(examples_of_steps(config), list(BAD)).reshape(8, 4, 2)
    np.testing.assert_array_equal(weights.reshape(8, 4, 2)[..., 0], ~is_bad.any(axis=-1))
    np.testing.assert_array_equal(weights.reshape(8, 4, 2)[..., 1], ~is_bad.any(axis=-1))


def test_a_good_split_has_the_same_batches_under_quarantine(folder, tmp_path):
    expected, _ = stream(make_config(folder, tmp_path))
    arrays, noted = stream(make_config(folder, tmp_path, bad_examples="quarantine"))
    assert_equal(arrays, expected)
    assert noted == [{}]


def fit(config, tmp_path):
    """Trains as `hvd_imgcls.train` does, in one process; returns the file that lists bad images."""
    source = open_images(config)
    plan = plan_of(source, config, 1)
    bad_example_log, path = BadExampleLog(), tmp_path / "quarantine.jsonl"
    model = small_model()
    model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    count = CountBatches(plan)
    callback = Quarantine(
        "training",
        PlannedImages(source, config, plan),
        count.position,
        bad_example_log,
        SingleProcessCollectives(),
        path,
    )
    model.fit(
        training_dataset(source, config, plan, rank=0, bad_example_log=bad_example_log),
        epochs=plan.num_epochs,
        steps_per_epoch=plan.batches_per_epoch,
        callbacks=[count, callback, StopAfterSteps(plan, count.position)],
        shuffle=False,
        verbose=0,
    )
    return source, path


def test_a_run_that_fails_names_rank_epoch_and_step(spoilt, tmp_path):
    """TensorFlow may have counted the failing step already: the counter needs no images."""
    config = make_config(spoilt, tmp_path, (SHIFT,))
    source = open_images(config)
    plan = plan_of(source, config, 2)
    model = small_model()
    model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))

    def train():
        with naming_unreadable_images(
            source, config, plan, rank=1, finished_steps=lambda: int(model.optimizer.iterations)
        ):
            model.fit(
                training_dataset(source, config, plan, rank=1),
                epochs=plan.num_epochs,
                steps_per_epoch=plan.batches_per_epoch,
                shuffle=False,
                verbose=0,
            )

    mine = examples_of_steps(config)[:, 4:]
    step, place = np.argwhere(np.isin(mine, list(BAD)))[0]
    with pytest.raises(DataError) as raised:
        train()
    assert str(raised.value).startswith(source.name_of("train", int(mine[step, place])))
    assert str(raised.value).endswith(f"[rank 1, epoch {step // 3 + 1}, step {step + 1}]")


def small_model():
    layers = keras.layers
    return keras.Sequential([keras.Input((12, 12, 3)), layers.Flatten(), layers.Dense(2)])


@pytest.mark.parametrize("cache", ["none", "decoded"])
def test_every_bad_image_is_listed_once_with_where_it_was_seen_first(spoilt, tmp_path, cache):
    config = make_config(spoilt, tmp_path, (SHIFT,), cache=cache, **ALLOWED)
    source, path = fit(config, tmp_path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    order = examples_of_steps(config).reshape(-1).tolist()
    assert [line["example"] for line in lines] == sorted(BAD, key=order.index)
    for line in lines:
        assert line["name"] == source.name_of("train", line["example"])
        assert line["reason"]
        assert (line["epoch"], line["step"]) == (1, order.index(line["example"]) // 8 + 1)
        assert (line["split"], line["rank"]) == ("train", 0)
    assert {line["example"]: line["reason"] for line in lines}[3] == "empty file"


def test_too_many_bad_images_end_the_run_with_number_limit_and_names(spoilt, tmp_path):
    config = make_config(spoilt, tmp_path, (SHIFT,), bad_examples="quarantine")
    with pytest.raises(BadImagesError) as raised:
        fit(config, tmp_path)
    text = str(raised.value)
    assert "3 of 24 training images cannot be read, more than the 1 allowed" in text
    for example in BAD:
        assert open_images(config).name_of("train", example) in text
    assert len((tmp_path / "quarantine.jsonl").read_text().splitlines()) == 3
    assert raised.value.exit_code == 3


@pytest.mark.parametrize("cache", ["none", "decoded"])
def test_a_bad_held_out_image_is_left_out_of_the_metrics(spoilt, folder, tmp_path, cache):
    config = make_config(spoilt, tmp_path, (SHIFT,), cache=cache, **ALLOWED)
    source = open_images(config)
    plan = EvaluationPlan(num_examples=6, block_size=4, num_steps=2, num_padded_examples=2)
    path = tmp_path / "quarantine.jsonl"
    metrics = evaluate_model(
        make_predict(small_model(), "one"),
        source,
        config,
        plan,
        ranks=Ranks(collectives=SingleProcessCollectives(), threads=share_cores(1, 1)),
        options=EvaluationOptions(quarantine_path=path),
    ).metrics
    assert (metrics["num_examples"], metrics["num_unreadable"]) == (5, 1)
    assert np.sum(metrics["confusion_matrix"], axis=1).tolist() == [3, 2]
    (line,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert line["name"] == source.name_of("held_out", 4)
    assert "No such file or directory" in line["reason"]
    assert (line["split"], line["epoch"], line["step"]) == ("held_out", None, None)


def test_the_loss_stays_divided_by_the_whole_batch():
    """So the gradient averaged over ranks is the same however bad images are spread over them."""
    loss = build_loss(parse_config(PIPELINE, origin="test").loss)
    targets, logits = np.eye(2)[[0, 1, 1, 0]], np.arange(8.0).reshape(4, 2)
    whole = float(loss(targets, logits, sample_weight=np.array([1, 0, 0, 1])))
    halves = [
        float(loss(targets[part], logits[part], sample_weight=np.array(weights)))
        for part, weights in ((slice(2), [1, 0]), (slice(2, 4), [0, 1]))
    ]
    assert np.mean(halves) == pytest.approx(whole)
    assert whole == pytest.approx(2 * float(loss(targets[[0]], logits[[0]])) / 4)


@pytest.mark.parametrize(
    ("most", "fraction", "number", "limit"),
    [
        (100, 0.001, 1, 1),
        (100, 0.001, 1_000, 1),
        (100, 0.001, 1_001, 2),
        (100, 0.001, 10**7, 100),
        (100, 0.1, 30, 3),  # 0.1 * 30 is more than 3 in binary
        (100, 0.07, 100, 7),
        (100, 0.0, 10**6, 0),
        (0, 0.5, 10**6, 0),
        (10**6, 1.0, 50, 50),
        (100, 1e-7, 10**6, 1),
    ],
)
def test_the_limit_is_the_smaller_one_and_at_least_one_image(most, fraction, number, limit):
    assert max_bad_examples(most, fraction, number) == limit
