"""Examples divided over hosts: what every rank reads, and who sends what to whom."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvd_imgcls.data.order.division import Division, sender_positions
from hvd_imgcls.data.order.positions import epoch_slots, rank_blocks, rank_rows
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.plan import HostShares
from tests.unit.data.plans import plan_of

BLOCK = 4


def division_of(num_hosts, blocks_per_host, exchange=0.0, positions=(), seed=0):
    """Deals blocks of 4 examples to hosts at random, in both splits."""
    number = num_hosts * blocks_per_host
    hosts = np.random.default_rng(seed).permutation(np.arange(number) % num_hosts)
    shares = [
        np.flatnonzero(np.repeat(hosts == host, BLOCK)).astype(np.int64)
        for host in range(num_hosts)
    ]
    return Division(
        shares={"train": shares, "held_out": shares},
        exchange=exchange,
        positions=positions or tuple(range(num_hosts)),
    )


def plan_for(division, size, per_rank=2, **keywords):
    number = sum(map(len, division.shares["train"]))
    return plan_of(
        num_train=number,
        num_held_out=number,
        batch=size * per_rank,
        size=size,
        hosts=division.counts(BLOCK),
        block_size=BLOCK,
        **keywords,
    )


cases = given(
    num_hosts=st.integers(1, 4),
    ranks_per_host=st.integers(1, 3),
    blocks=st.integers(2, 6),
    exchange=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 9),
)


@cases
@settings(deadline=None)
def test_every_epoch_holds_every_example_at_most_once(
    num_hosts, ranks_per_host, blocks, exchange, seed
):
    size = num_hosts * ranks_per_host
    division = division_of(num_hosts, blocks, exchange, tuple(range(size)), seed)
    for last_batch in ("drop", "weighted"):
        plan = plan_for(division, size, per_rank=1, last_batch=last_batch)
        rows = [rank_rows(plan, rank=r, epoch=3, division=division) for r in range(size)]
        assert {len(part.examples) for part in rows} == {plan.steps_per_epoch}
        real = np.concatenate([part.examples[part.weights > 0] for part in rows])
        assert len(np.unique(real)) == len(real)
        if last_batch == "weighted":
            assert len(real) == plan.num_train_examples


@cases
@settings(deadline=None)
def test_without_exchange_a_rank_reads_its_host_and_with_it_knows_who_sends(
    num_hosts, ranks_per_host, blocks, exchange, seed
):
    size = num_hosts * ranks_per_host
    generator = np.random.default_rng(seed)
    positions = tuple(generator.permutation(size).tolist())
    division = division_of(num_hosts, blocks, exchange, positions, seed)
    plan = plan_for(division, size, per_rank=1)
    homes = division.home_of()
    for rank in range(size):
        position = division.position_of(rank)
        examples = rank_rows(plan, rank=rank, epoch=0, division=division).examples
        senders = sender_positions(homes[examples], position, num_hosts=num_hosts, size=size)
        own = homes[examples] == position // ranks_per_host
        np.testing.assert_array_equal(senders == position, own)
        np.testing.assert_array_equal(senders // ranks_per_host, homes[examples])
        if exchange == 0:
            assert own.all()


def test_the_batches_do_not_depend_on_the_number_of_ranks_per_host():
    division = division_of(2, 6, exchange=0.5)
    batches = [
        epoch_slots(plan_for(division, size, per_rank=8 // size), 1, division)
        for size in (1, 2, 4, 8)
    ]
    for other in batches[1:]:
        np.testing.assert_array_equal(other, batches[0])


def test_one_rank_may_read_for_several_hosts():
    division = division_of(4, 3, positions=(0, 1))
    plan = plan_for(division, 2, per_rank=4)
    homes = division.home_of()
    for rank in range(2):
        examples = rank_rows(plan, rank=rank, epoch=0, division=division).examples
        assert set(homes[examples].ravel()) == {2 * rank, 2 * rank + 1}
        senders = sender_positions(homes[examples], rank, num_hosts=4, size=2)
        assert (senders == rank).all()


@pytest.mark.parametrize(("exchange", "expected"), [(0.0, 0.0), (0.4, 0.3), (1.0, 0.75)])
def test_so_many_examples_come_from_another_host(exchange, expected):
    division = division_of(4, 500, exchange, tuple(range(4)))
    plan = plan_for(division, 4, per_rank=10)
    homes = division.home_of()
    moved = np.mean(
        [
            homes[rank_rows(plan, rank=rank, epoch=5, division=division).examples] != rank
            for rank in range(4)
        ]
    )
    assert moved == pytest.approx(expected, abs=0.02)
    shares = division.counts(BLOCK)
    assert shares.distance_from_global_shuffle == pytest.approx(0.75 - expected)


@cases
@settings(deadline=None)
def test_held_out_blocks_are_evaluated_once_each_on_their_host(
    num_hosts, ranks_per_host, blocks, exchange, seed
):
    size = num_hosts * ranks_per_host
    division = division_of(num_hosts, blocks, exchange, tuple(range(size)), seed)
    plan = plan_for(division, size).evaluation
    seen = []
    for rank in range(size):
        numbers, examples = rank_blocks(plan, rank=rank, size=size, division=division)
        assert len(numbers) == plan.num_steps
        own = set(division.shares["held_out"][rank // ranks_per_host].tolist())
        assert set(examples[examples >= 0].tolist()) <= own
        seen += numbers[numbers >= 0].tolist()
    assert sorted(seen) == list(range(num_hosts * blocks))


def test_ranks_and_batches_that_do_not_go_with_the_hosts_are_refused():
    shares = HostShares(
        num_train_examples=(30, 30, 30), num_held_out_blocks=(1, 1, 1), exchange=0.0
    )
    with pytest.raises(ConfigError, match=r"4 ranks for images .* 3 hosts.*start 3 ranks"):
        plan_of(num_train=90, batch=12, size=4, hosts=shares)
    with pytest.raises(ConfigError, match=r"global_batch_size: got 8, .* multiple of the 3"):
        plan_of(num_train=90, batch=8, size=1, hosts=shares)
    with pytest.raises(
        ConfigError, match=r"at most the 90 examples .*3 hosts, limited by the smallest"
    ):
        plan_of(num_train=90, batch=120, size=3, hosts=shares)
