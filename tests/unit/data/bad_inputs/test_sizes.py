"""Group VII: how many images there are."""

from __future__ import annotations

import numpy as np
import pytest

from hvd_imgcls.config.data.sources import ImageFolderSource
from hvd_imgcls.data.order import epoch_order, positions
from hvd_imgcls.data.sources.image_folder import open_image_folder
from hvd_imgcls.errors import ConfigError, DataError
from tests.support.digits_plans import plan_of

REFUSED = {
    "no training image": ({"num_train": 0}, DataError, "the training split has no examples"),
    "no held-out image": ({"num_held_out": 0}, DataError, "the held-out split has no examples"),
    "one class": ({"classes": 1}, DataError, "got 1 classes, expected at least 2"),
    "fewer images than ranks": (
        {"num_train": 3, "size": 4},
        ConfigError,
        "train.global_batch_size: got 64, expected at most the 3 examples",
    ),
    "fewer images than a batch": (
        {"num_train": 63},
        ConfigError,
        "train.global_batch_size: got 64, expected at most the 63 examples",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_too_few_images_are_refused_with_the_number(name):
    arguments, error, text = REFUSED[name]
    with pytest.raises(error, match=text):
        plan_of(**arguments)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_what_is_beyond_the_last_batch_is_left_out_in_turn(size):
    _, plan = plan_of(num_train=64 * 3 + 63, size=size)
    assert (plan.steps_per_epoch, plan.num_dropped_examples) == (3, 63)
    seen = set()
    for epoch in range(plan.num_epochs):
        orders = epoch_order.epoch_order(plan.num_train_examples, plan.seed, epoch)
        seen |= set(orders[: 64 * 3].tolist())
    assert len(seen) == plan.num_train_examples


@pytest.mark.parametrize("num_held_out", [1, 3, 64, 65])
def test_fewer_held_out_images_than_ranks_are_evaluated_once(num_held_out):
    size = 4
    _, plan = plan_of(size=size, num_held_out=num_held_out)
    blocks = [
        positions.rank_blocks(plan.evaluation, rank=rank, size=size)[1] for rank in range(size)
    ]
    assert {len(of_rank) for of_rank in blocks} == {plan.evaluation.num_steps} == {1}
    examples = np.concatenate(blocks).reshape(-1)
    assert sorted(examples[examples >= 0].tolist()) == list(range(num_held_out))


def test_one_image_of_every_class_leaves_nothing_to_hold_out(tmp_path):
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(b"image")
    source = open_image_folder(ImageFolderSource(name="image_folder", path=str(tmp_path)))
    assert source.num_examples("train") == 3
    with pytest.raises(DataError, match="the held-out split has no examples; change how"):
        plan_of(num_train=3, num_held_out=source.num_examples("held_out"))
