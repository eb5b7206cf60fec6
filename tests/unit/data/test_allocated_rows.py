"""Batches of changing sizes: the global batches stay the same, whatever the parts of the ranks."""

import numpy as np
import pytest

from hvd_imgcls.config import load_config, parse_config
from hvd_imgcls.data import open_source
from hvd_imgcls.data.order.positions import epoch_slots, rank_rows
from hvd_imgcls.data.pipeline.dataset import Start, training_dataset
from hvd_imgcls.plan.allocation import Allocation
from hvd_imgcls.plan.balancing import allocation_unit_of
from tests.support.trainings import write_images
from tests.unit.data.test_dataset import PIPELINE, setup

# Few different sizes: augmentation is compiled for each.
CHANGES = ((2, (20, 44)), (4, (44, 20)), (7, (32, 32)), (25, (20, 44)))
OPTIONS = (
    "--train.global_batch_size=64",
    "--train.num_steps=30",
    "--train.last_batch=weighted",
    "--augment=[{name: random_crop, padding: 1}, {name: mixup}]",
)


def allocation_of(plan):
    allocation = Allocation(plan)
    for step, parts in CHANGES:
        allocation.change(step, parts)
    return allocation


def streams(source, *options, start=None, changes=True, size=2):
    """Returns images, targets and weights of all steps by rank, as lists."""
    config, plan = setup(source, *OPTIONS, *options, size=size)
    position = dict(start or {}, allocation=allocation_of(plan) if changes else None)
    by_rank = [
        list(
            training_dataset(
                source, config, plan, rank=rank, start=Start(**position)
            ).as_numpy_iterator()
        )
        for rank in range(size)
    ]
    return config, plan, by_rank


def global_batches(by_rank, passes):
    """Returns the steps, with the parts of the ranks and passes put together."""
    steps = []
    for first in range(0, len(by_rank[0]), passes):
        parts = [part for rank in by_rank for part in rank[first : first + passes]]
        steps.append([np.concatenate(arrays) for arrays in zip(*parts, strict=True)])
    return steps


def assert_same(steps, expected):
    assert len(steps) == len(expected)
    for one, other in zip(steps, expected, strict=True):
        for array, reference in zip(one, other, strict=True):
            np.testing.assert_array_equal(array, reference)


@pytest.fixture(scope="module")
def digits():
    return open_source(load_config(PIPELINE).data.source)


@pytest.mark.parametrize("passes", [1, 2])
def test_global_batches_are_those_of_equal_parts(digits, passes):
    options = (f"--train.gradient_accumulation_steps={passes}",)
    _, _, changed = streams(digits, *options)
    _, _, equal = streams(digits, *options, changes=False)
    sizes = [tuple(len(rank[step * passes][2]) for rank in changed) for step in (1, 2, 5, 8, 25)]
    parts = [(32, 32), (20, 44), (44, 20), (32, 32), (20, 44)]
    assert sizes == [tuple(part // passes for part in of_step) for of_step in parts]
    assert_same(global_batches(changed, passes), global_batches(equal, passes))


def test_a_dataset_starts_at_any_batch(digits):
    options = ("--train.gradient_accumulation_steps=2",)
    _, _, whole = streams(digits, *options)
    _, plan, rest = streams(digits, *options, start={"epoch": 1, "step": 2, "passes": 1})
    first = (plan.steps_per_epoch + 2) * 2 + 1
    for of_rank, later in zip(whole, rest, strict=True):
        assert_same(later, of_rank[first:])


def test_a_dataset_that_reads_again_does_not_open_what_was_taken(digits):
    config, plan = setup(digits, *OPTIONS, size=2)
    allocation = allocation_of(plan)
    for step in (6, 1):
        start = Start(step=step, allocation=allocation)
        next(iter(training_dataset(digits, config, plan, rank=0, start=start)))
    with allocation.held() as next_step:
        assert next_step > 6


@pytest.mark.parametrize(
    "bad_examples", [pytest.param("fail", marks=pytest.mark.slow), "quarantine"]
)
def test_image_files_are_joined_to_batches(tmp_path, bad_examples):
    write_images(tmp_path / "images")
    text = f"""
    data: {{source: {{name: image_folder, path: {tmp_path / "images"}}}, image_size: 16}}
    model: {{name: small_cnn}}
    """
    source = open_source(parse_config(text, (), origin="x.yaml").data.source)
    options = (
        f"--data={{source: {{name: image_folder, path: {tmp_path / 'images'}}}, image_size: 16, "
        f"bad_examples: {bad_examples}}}",
        "--augment=[{name: random_resized_crop}, {name: random_flip}]",
    )
    config, plan, changed = streams(source, *options)
    _, _, equal = streams(source, *options, changes=False)
    assert allocation_unit_of(config, plan) == 2
    assert_same(global_batches(changed, 1), global_batches(equal, 1))


def test_the_plan_of_a_rank_names_the_examples_that_it_gets(digits):
    _, plan = setup(digits, *OPTIONS, "--train.gradient_accumulation_steps=2", size=2)
    allocation = allocation_of(plan)
    per_epoch = plan.steps_per_epoch
    for epoch in (0, 1):
        slots = np.maximum(epoch_slots(plan, epoch), 0)
        rows = [rank_rows(plan, rank=r, epoch=epoch, allocation=allocation) for r in (0, 1)]
        for step in range(min(per_epoch, plan.num_steps - epoch * per_epoch)):
            numbers = [one for r in rows for one in r.first(2, skipped=2 * step)]
            assert numbers == slots[step].tolist()
            assert (
                len(rows[0].first(2, skipped=2 * step))
                == (allocation.parts(epoch * per_epoch + step)[0])
            )
