import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.plan.balancing import allocation_unit, balanced

SPEEDS = st.floats(0.05, 20.0)


@st.composite
def divisions(draw):
    size = draw(st.integers(1, 6))
    unit = draw(st.integers(1, 8))
    per_rank = draw(st.integers(1, 24))
    speeds = draw(st.lists(SPEEDS, min_size=size, max_size=size))
    return [unit * per_rank] * size, speeds, unit, draw(st.floats(1.01, 8.0))


@given(divisions())
def test_the_parts_are_a_division_of_the_global_batch(division):
    parts, speeds, unit, max_ratio = division
    seconds = [part / speed for part, speed in zip(parts, speeds, strict=True)]
    new = balanced(parts, seconds, unit=unit, max_ratio=max_ratio, min_gain=0.01)
    assert sum(new) == sum(parts)
    assert all(part >= unit and part % unit == 0 for part in new)
    assert max(new) <= max(unit, max_ratio * sum(parts) / len(parts))


@given(divisions(), st.floats(0.01, 0.5))
def test_no_part_changes_without_the_gain(division, min_gain):
    parts, speeds, unit, max_ratio = division
    seconds = [part / speed for part, speed in zip(parts, speeds, strict=True)]
    new = balanced(parts, seconds, unit=unit, max_ratio=max_ratio, min_gain=min_gain)
    slowest = max(part / speed for part, speed in zip(new, speeds, strict=True))
    assert new == tuple(parts) or slowest <= (1 - min_gain) * max(seconds) * (1 + 1e-9)


@given(
    st.lists(SPEEDS, min_size=2, max_size=3), st.integers(1, 6), st.integers(1, 3), st.booleans()
)
def test_no_other_division_is_faster(speeds, per_rank, unit, is_bounded):
    size, ratio = len(speeds), 1.5 if is_bounded else 10.0
    parts = [unit * per_rank] * size
    seconds = [part / speed for part, speed in zip(parts, speeds, strict=True)]
    new = balanced(parts, seconds, unit=unit, max_ratio=ratio, min_gain=1e-9)
    most = max(1, math.floor(ratio * per_rank))

    def slowest(division):
        return max(part / speed for part, speed in zip(division, speeds, strict=True))

    others = (
        [unit * number for number in numbers]
        for numbers in itertools.product(range(1, most + 1), repeat=size)
        if sum(numbers) == per_rank * size
    )
    assert slowest(new) <= min(map(slowest, others)) * (1 + 1e-6)


@pytest.mark.parametrize("overhead", [0.0, 0.3, 3.0])
def test_all_ranks_need_the_same_time_in_the_end(overhead):
    parts, speeds = (256, 256, 256), (1.0, 0.5, 0.25)
    for _ in range(12):
        seconds = [100 * overhead + p / s for p, s in zip(parts, speeds, strict=True)]
        parts = balanced(parts, seconds, unit=2, max_ratio=3.0, min_gain=0.001)
    seconds = [100 * overhead + p / s for p, s in zip(parts, speeds, strict=True)]
    assert max(seconds) / min(seconds) < 1.05


@given(st.integers(1, 200), st.integers(1, 4))
def test_units_divide_the_equal_part(units, multiple):
    equal_part = units * multiple
    unit = allocation_unit(equal_part, multiple)
    assert equal_part % unit == 0
    assert unit % multiple == 0
    # Examples are moved by at most 1/16, unless they cannot be.
    assert unit == multiple or 16 * unit <= equal_part
