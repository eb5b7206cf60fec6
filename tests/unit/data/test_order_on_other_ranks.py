"""The order of the examples goes on, from every step, on any other number of ranks."""

import itertools

import numpy as np
import pytest

from hvd_imgcls.data.order.division import Division
from hvd_imgcls.data.order.positions import rank_rows
from tests.unit.data.plans import plan_of

SIZES = (1, 2, 3, 4)
NUM_TRAIN, BATCH, EPOCHS = 100, 24, 2
# Images of two hosts go with 1, 2 and 4 ranks only.
HALVES = {
    "train": [np.arange(0, NUM_TRAIN, 2), np.arange(1, NUM_TRAIN, 2)],
    "held_out": [np.arange(8), np.arange(8, 16)],
}
DIVISIONS = {
    "shared": None,
    "two hosts": Division(shares=HALVES, exchange=0.0),
    "two hosts, exchange": Division(shares=HALVES, exchange=0.5),
}


def batches(size, kind, last_batch, epoch, start_step=0):
    """Returns the examples and weights of the global batches, the ranks' parts put together."""
    division = DIVISIONS[kind]
    plan = plan_of(
        num_train=NUM_TRAIN,
        batch=BATCH,
        size=size,
        last_batch=last_batch,
        num_epochs=EPOCHS,
        hosts=None if division is None else division.counts(16),
    )
    rows = [
        rank_rows(plan, rank=rank, epoch=epoch, start_step=start_step, division=division)
        for rank in range(size)
    ]
    return [
        (np.concatenate(examples).tolist(), np.concatenate(weights).tolist())
        for examples, weights in zip(
            zip(*(part.examples for part in rows), strict=True),
            zip(*(part.weights for part in rows), strict=True),
            strict=True,
        )
    ]


def sizes_of(kind):
    return SIZES if kind == "shared" else (1, 2, 4)


@pytest.mark.matrix("5.5 D5: order from every step")
@pytest.mark.parametrize("last_batch", ["drop", "weighted"])
@pytest.mark.parametrize(
    ("kind", "size"), [(kind, size) for kind in DIVISIONS for size in sizes_of(kind)]
)
def test_the_order_goes_on_from_every_step(kind, size, last_batch):
    for epoch in range(EPOCHS):
        whole = batches(size, kind, last_batch, epoch)
        for step in range(len(whole) + 1):
            assert batches(size, kind, last_batch, epoch, step) == whole[step:]


@pytest.mark.matrix("5.5 D6: order on other numbers of ranks")
@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (kind, before, after)
        for kind in DIVISIONS
        for before, after in itertools.permutations(sizes_of(kind), 2)
    ],
)
def test_the_order_goes_on_on_another_number_of_ranks(kind, before, after):
    for epoch in range(EPOCHS):
        whole = batches(before, kind, "weighted", epoch)
        for step in range(len(whole) + 1):
            rest = batches(after, kind, "weighted", epoch, step)
            together = whole[:step] + rest
            assert together == whole
            seen = [
                example
                for examples, weights in together
                for example, weight in zip(examples, weights, strict=True)
                if weight > 0
            ]
            assert sorted(seen) == list(range(NUM_TRAIN))


@pytest.mark.matrix("negative controls")
def test_an_order_that_depends_on_the_number_of_ranks_is_noticed(monkeypatch):
    whole = batches(2, "shared", "weighted", 0)
    plain = np.random.Generator.permutation
    monkeypatch.setattr(
        "hvd_imgcls.data.order.epoch_order.epoch_order",
        lambda num_examples, seed, epoch: plain(np.random.default_rng(7), num_examples),
    )
    assert batches(3, "shared", "weighted", 0, 2) != whole[2:]
