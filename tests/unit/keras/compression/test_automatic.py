"""Which of several measured ways to reduce gradients is taken."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.communication.compression import Compression
from hvd_imgcls.keras.compression.settings import BY_NAME, fastest
from hvd_imgcls.keras.synchronization.automatic.measured import (
    Measured,
    reason_for_compression,
    reason_for_groups,
)

times = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=5)
gains = st.floats(0.0, 1.0, exclude_max=True)


@given(times, st.floats(0.0, 1e3), gains)
def test_what_is_taken_saves_enough_and_nothing_saves_more(seconds, computing, gain):
    step = computing + seconds[0]
    choice = fastest(seconds, step, gain)
    largest = seconds[0] - min(seconds)
    if choice:
        assert seconds[choice] == min(seconds) < seconds[0]
        assert largest >= gain * step
    else:
        assert largest == 0.0 or largest < gain * step


@given(times, st.floats(0.0, 1e3), gains, st.integers(-20, 20))
def test_the_unit_of_time_does_not_matter(seconds, computing, gain, exponent):
    step, unit = computing + seconds[0], 2.0**exponent
    assert fastest([unit * one for one in seconds], unit * step, gain) == fastest(
        seconds, step, gain
    )


@given(times, st.floats(0.0, 1e3), gains, gains)
def test_a_larger_least_gain_takes_the_same_or_nothing(seconds, computing, gain, other):
    step = computing + seconds[0]
    least, most = sorted((gain, other))
    assert fastest(seconds, step, most) in (0, fastest(seconds, step, least))


@given(times, gains)
def test_a_long_step_is_not_worth_it(seconds, gain):
    assume(gain > 0.0)
    assert fastest(seconds, 1.001 * seconds[0] / gain, gain) == 0


@pytest.mark.parametrize(
    ("seconds", "step", "choice"),
    [
        ([0.3, 0.2, 0.1], 1.0, 2),
        ([0.3, 0.1, 0.1], 1.0, 1),
        ([0.3, 0.25, 0.21], 1.0, 0),
        ([0.3, 0.1], math.nan, 0),
        ([0.3, math.nan, 0.1], 1.0, 2),
        ([0.3, math.nan], 1.0, 0),
        ([0.1, 0.3], 1.0, 0),
        ([0.1], 0.1, 0),
    ],
)
def test_known_choices(seconds, step, choice):
    assert fastest(seconds, step, 0.1) == choice


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_medians_without_the_first_round(num_ways, rounds, seed):
    random = np.random.default_rng(seed)
    table = random.uniform(0.1, 1.0, (1 + rounds, num_ways, 2))
    first = table.copy()
    first[0] = 1e9
    measured = Measured.of(first.reshape(-1, 2), num_ways)
    for way in range(num_ways):
        assert measured.seconds[way] == np.median(table[1:, way, 0])
    # Only a step that sends nothing else shows how long one is.
    assert measured.step_seconds == np.median(table[1:, 0, 1])


def test_unknown_steps_are_left_out():
    table = np.zeros((4, 2, 2))
    table[:, :, 0] = 0.1
    assert math.isnan(Measured.of(table.reshape(-1, 2), 2).step_seconds)
    table[2, 0, 1] = 0.5
    assert Measured.of(table.reshape(-1, 2), 2).step_seconds == 0.5


def test_the_reason_in_words():
    measured = Measured(seconds=(0.0451, 0.024, 0.0123), steps=(0.0602, 0.04, 0.03))
    names, sizes = ("none", "bf16", "int8"), (4_400_000, 2_200_000, 1_120_000)
    assert reason_for_compression(measured, names, sizes, 2, 0.1) == (
        "compression int8, which shortens a step of 60.2 ms by 32.8 ms (a reduction with "
        "none 45.1 ms, 4.4 MB; bf16 24 ms, 2.2 MB; int8 12.3 ms, 1.12 MB)"
    )
    assert reason_for_compression(measured, names, sizes, 0, 0.6).startswith(
        "compression none: no other shortens a step of 60.2 ms by 60 % (a reduction with none "
    )
    names, sizes = names[:2], sizes[:2]
    slow = Measured(seconds=(4.1, 1.5), steps=(4.32, 2.0))
    text = reason_for_compression(slow, names, sizes, 1, 0.1)
    assert text.startswith("compression bf16, which shortens a step of 4.32 s by 2.6 s (")
    unknown = Measured(seconds=(0.1, 0.1), steps=(math.nan, 0.1))
    text = reason_for_compression(unknown, names, sizes, 0, 0.1)
    assert "a step of unknown length" in text
    text = reason_for_groups(slow, ("1", "4"), 1)
    assert text == "groups of gradients 4 (a step with 1 4.32 s; 4 2 s)"


def test_settings():
    settings = Compression.auto(candidates=["power_sgd", "bf16"], exclude=["*/predictions/*"])
    assert settings.describe() == {
        "name": "auto",
        "candidates": ["power_sgd", "bf16"],
        "min_gain": 0.1,
        "rounds": 5,
        "warmup_steps": 0,
        "exclude": ["*/predictions/*"],
    }
    candidates = settings.settings_of_candidates()
    assert [type(one) for one in candidates] == [BY_NAME["power_sgd"], BY_NAME["bf16"]]
    assert all(one.exclude == ("*/predictions/*",) for one in candidates)
    with pytest.raises(ConfigError, match="one or more of bf16, int8, top_k, power_sgd"):
        Compression.auto(candidates=["fp16"])
