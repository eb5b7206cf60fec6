import dataclasses
from pathlib import Path

import numpy as np
import pytest

from hvd_imgcls.config import load_config
from hvd_imgcls.config.losses import CrossEntropy
from hvd_imgcls.data import open_source
from hvd_imgcls.data.order.positions import rank_blocks
from hvd_imgcls.data.pipeline.dataset import Start, training_dataset
from hvd_imgcls.data.pipeline.evaluation_dataset import evaluation_dataset
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.losses import build_loss
from hvd_imgcls.plan import make_plan

PIPELINE = Path(__file__).parents[3] / "pipelines" / "digits_cnn.yaml"
BASE = ("--train.num_epochs=null", "--train.num_steps=30", "--schedule.warmup_epochs=0")


@pytest.fixture(scope="module")
def source():
    return open_source(load_config(PIPELINE).data.source)


def setup(source, *overrides, size=1, num_cores=2):
    config = load_config(PIPELINE, [*BASE, *overrides])
    plan = make_plan(
        config,
        num_train_examples=source.num_examples("train"),
        num_held_out_examples=source.num_examples("held_out"),
        num_classes=10,
        topology=Topology.on_hosts(0, size, size),
        num_cores=num_cores,
    )
    return config, plan


def training_stream(source, *overrides, size=1, num_cores=2, **position):
    """Returns images and targets of all steps, the ranks' parts put together."""
    config, plan = setup(source, *overrides, size=size, num_cores=num_cores)
    by_rank = []
    for rank in range(size):
        dataset = training_dataset(source, config, plan, rank=rank, **position)
        batches = list(dataset.as_numpy_iterator())
        assert all(weight.tolist() == [1.0] * len(weight) for _, _, weight in batches)
        by_rank.append([np.stack(arrays) for arrays in list(zip(*batches, strict=True))[:2]])
    k = plan.gradient_accumulation_steps
    joined = []
    for arrays in zip(*by_rank, strict=True):
        per_step = [
            array.reshape(-1, k * plan.per_rank_batch_size, *array.shape[2:]) for array in arrays
        ]
        joined.append(np.concatenate(per_step, axis=1))
    return joined


@pytest.fixture(scope="module")
def alone(source):
    return training_stream(source)


def test_training_of_one_rank_has_its_shapes(alone):
    images, targets = alone
    assert (images.shape, images.dtype) == ((30, 64, 8, 8, 1), np.uint8)
    assert (targets.shape, targets.dtype) == ((30, 64, 10), np.float32)
    assert (targets.sum(axis=-1) == 1).all()


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("num_cores", [1, 8])
def test_training_on_any_number_of_ranks_and_threads_has_the_same_pixels(
    source, alone, size, num_cores
):
    for array, expected in zip(
        training_stream(source, size=size, num_cores=num_cores), alone, strict=True
    ):
        np.testing.assert_array_equal(array, expected)


def test_training_with_accumulation_has_the_same_steps(source, alone):
    accumulated = training_stream(source, "--train.gradient_accumulation_steps=4", size=2)
    for array, expected in zip(accumulated, alone, strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(("epoch", "step"), [(0, 5), (1, 0), (1, 3)])
def test_training_from_a_position_is_the_rest(source, alone, epoch, step):
    rest = training_stream(source, size=2, start=Start(epoch=epoch, step=step))
    for array, expected in zip(rest, alone, strict=True):
        np.testing.assert_array_equal(array, expected[epoch * 22 + step :])


def test_training_of_another_epoch_moves_images_otherwise(source):
    config, plan = setup(source, "--train.global_batch_size=1438", "--train.num_steps=2")
    first, second = (
        images
        for images, _, _ in training_dataset(source, config, plan, rank=0).as_numpy_iterator()
    )
    originals = source.images("train")
    assert not np.array_equal(np.sort(first, axis=0), np.sort(second, axis=0))
    assert first.shape == originals.shape


@pytest.mark.parametrize("size", [1, 2, 3])
def test_evaluation_over_all_ranks_holds_every_example_once(source, size):
    config, plan = setup(source)
    plan = dataclasses.replace(plan.evaluation, num_steps=-(-6 // size))
    images, labels = source.images("held_out"), source.labels("held_out")
    seen = np.zeros(len(labels), int)
    for rank in range(size):
        _, blocks = rank_blocks(plan, rank=rank, size=size)
        dataset = evaluation_dataset(source, config, plan, rank=rank, size=size, num_threads=2)
        batches = list(dataset.as_numpy_iterator())
        assert len(batches) == plan.num_steps
        for examples, (pixels, targets, weights) in zip(blocks, batches, strict=True):
            np.testing.assert_array_equal(weights > 0, examples >= 0)
            real = examples[examples >= 0]
            np.testing.assert_array_equal(pixels[weights > 0], images[real])
            np.testing.assert_array_equal(targets[weights > 0].argmax(axis=1), labels[real])
            np.add.at(seen, real, 1)
    assert (seen == 1).all()


def test_odd_batches_that_would_be_mixed_are_refused_with_the_key(source):
    config, plan = setup(source, "--augment=[{name: mixup}]", "--train.global_batch_size=63")
    with pytest.raises(ConfigError, match=r"train\.global_batch_size"):
        training_dataset(source, config, plan, rank=0)


def test_the_loss_of_a_filled_batch_is_the_mean_of_its_examples(source):
    """1,438 digits are 22 batches of 64 and 30 more: of two ranks, one has padding only."""
    loss = build_loss(CrossEntropy())
    config, plan = setup(
        source,
        "--train.last_batch=weighted",
        "--train.num_steps=null",
        "--train.num_epochs=1",
        "--augment=[]",
        size=2,
    )
    assert (plan.steps_per_epoch, plan.num_padded_examples) == (23, 34)
    lasts = [
        list(training_dataset(source, config, plan, rank=rank).as_numpy_iterator())[-1]
        for rank in range(2)
    ]
    generator = np.random.default_rng(0)
    logits = [generator.normal(size=(32, 10)).astype(np.float32) for _ in range(2)]
    of_ranks = [
        float(loss(targets, guess, sample_weight=weights))
        for (_, targets, weights), guess in zip(lasts, logits, strict=True)
    ]
    real = [weights > 0 for _, _, weights in lasts]
    assert [int(is_real.sum()) for is_real in real] == [30, 0]
    expected = float(loss(lasts[0][1][real[0]], logits[0][real[0]]))
    assert np.mean(of_ranks) == pytest.approx(expected, rel=1e-6)


def test_balanced_class_weights_are_those_of_the_targets_on_any_number_of_ranks(source):
    """Every class weighs the same over an epoch; a mixed image weighs what its classes do."""
    counts = np.bincount(source.labels("train"), minlength=10)
    of_class = len(source.labels("train")) / (10 * counts)
    words = ["--train.class_weights=balanced", "--augment=[{name: mixup}]"]
    weights_of_size = []
    for size in (1, 2):
        config, plan = setup(source, *words, size=size)
        parts = [
            list(training_dataset(source, config, plan, rank=rank).take(3).as_numpy_iterator())
            for rank in range(size)
        ]
        for batch in (batch for of_rank in parts for batch in of_rank):
            np.testing.assert_allclose(batch[2], batch[1] @ of_class, rtol=1e-5)
        of_steps = [np.concatenate([b[2] for b in batches]) for batches in zip(*parts, strict=True)]
        weights_of_size.append(np.stack(of_steps))
    np.testing.assert_allclose(weights_of_size[0], weights_of_size[1], rtol=1e-6)
    assert np.ptp(weights_of_size[0]) > 0.02


def test_balanced_class_weights_sum_up_to_the_same_for_every_class(source):
    config, plan = setup(
        source,
        "--train.class_weights=balanced",
        "--train.last_batch=weighted",
        "--train.num_steps=null",
        "--train.num_epochs=1",
        "--augment=[]",
    )
    totals = np.zeros(10)
    batches = list(training_dataset(source, config, plan, rank=0).as_numpy_iterator())
    for _, targets, weights in batches[:-1]:
        totals += weights @ targets
    _, targets, weights = batches[-1]
    num_real = int((weights > 0).sum())
    totals += (weights * num_real / 64) @ targets  # what fills up the batch has raised the others
    np.testing.assert_allclose(totals, 1438 / 10, rtol=1e-5)
