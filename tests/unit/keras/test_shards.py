"""Parts of variables, and their state on other numbers of ranks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.distributed import global_process_set
from hvd_imgcls.keras.sharding.shards import Shards
from hvd_imgcls.keras.state.combining import of_other_ranks
from hvd_imgcls.optimizers.extending import whole

SHAPES = ((3, 5), (7,), (1,), (2, 2, 2))


def parts_of(variables, size):
    """Returns the shards of all ranks, each with a slot for every part."""
    ranks = []
    for rank in range(size):
        shards = Shards(global_process_set, size, rank)
        for part in shards.build(variables):
            shards.slots.append((keras.Variable(part), whole(part)))
        ranks.append(shards)
    return ranks


def variables_of(seed=0):
    random = np.random.default_rng(seed)
    return [keras.Variable(random.normal(size=shape).astype(np.float32)) for shape in SHAPES]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 16])
def test_the_parts_of_all_ranks_are_the_variable(size):
    variables = variables_of()
    ranks = parts_of(variables, size)
    for index, variable in enumerate(variables):
        own = [np.asarray(shards.of(variables)[index]) for shards in ranks]
        assert len({len(part) for part in own}) == 1
        flat = np.concatenate(own)
        num_values = np.size(variable)
        np.testing.assert_array_equal(flat[:num_values], np.ravel(variable))
        assert not flat[num_values:].any()


@given(st.integers(1, 5), st.integers(1, 5))
def test_the_state_goes_from_any_number_of_ranks_to_any_other(before, after):
    variables = variables_of()
    states = [{"parts": shards.state()} for shards in parts_of(variables, before)]
    expected = parts_of(variables, after)
    for rank, shards in enumerate(parts_of(variables_of(seed=1), after)):
        combined = of_other_ranks(states, rank)
        shards.restore(combined["all parts"], are_whole=True)
        for got, reference in zip(shards.state(), expected[rank].state(), strict=True):
            np.testing.assert_array_equal(got, reference)


def test_a_part_follows_its_variable():
    variables = variables_of()
    shards = parts_of(variables, 2)[1]
    variables[0].assign(tf.ones(SHAPES[0]))
    shards.take(variables)
    # 15 values are 8 and 7, and a zero.
    assert np.asarray(shards.of(variables)[0]).tolist() == [1.0] * 7 + [0.0]


def test_a_variable_that_is_not_divided_stays_itself():
    variables = variables_of()
    shards = Shards(global_process_set, 2, 0)
    shards.build(variables[:1])
    first, second = shards.of(variables[:2])
    assert whole(first) is variables[0]
    assert second is variables[1]
