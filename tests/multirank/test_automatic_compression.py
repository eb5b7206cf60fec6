"""`compression: auto`: what is chosen, that all ranks choose the same, and what follows from it."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest

from tests.multirank.test_compression import flat, gradients_of, make_step, make_variables
from tests.support.launch import run_on_ranks

ROUNDS = 1
NUM_WAYS = 3
NUM_TRIALS = (1 + ROUNDS) * NUM_WAYS
NUM_STEPS = NUM_TRIALS + 4
FIXED = {"none": "none", "bf16": "bf16", "int8": "int8"}


def automatic(choice=None, **options):
    """Returns the settings; with a number, of a choice that does not depend on time."""
    import hvd_imgcls.keras as hvd

    if choice is None:
        return hvd.Compression.auto(rounds=ROUNDS, **options)

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Known(hvd.Compression.auto):
        def choose(self, seconds, step_seconds):
            assert len(seconds) == NUM_WAYS
            assert min(seconds) > 0.0
            assert step_seconds > 0.0
            return choice

    return Known(rounds=ROUNDS, **options)


def train(compression, steps, state=None, **keywords):
    """Returns the weights after every step, the states at the end, and what the log says."""
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.keras.communication.compression import Compressor
    from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

    hvd.init()
    if isinstance(compression, dict):
        compression = automatic(**compression)
    elif isinstance(compression, str):
        compression = getattr(hvd.Compression, compression)
        if not issubclass(compression, Compressor):
            compression = compression(warmup_steps=NUM_TRIALS)
    keywords.setdefault("skip_non_finite", True)
    optimizer = hvd.DistributedOptimizer(
        keras.optimizers.SGD(1.0), compression=compression, check_every_steps=1, **keywords
    )
    variables, synchronizer = make_variables(), synchronizer_of(optimizer)
    if state is not None:
        for variable, value in zip(variables, state["weights"][-1], strict=True):
            variable.assign(value)
        optimizer.build(variables)
    messages = Messages()
    with messages:
        if state is not None:
            synchronizer.restore(optimizer, state["shared"])
            synchronizer.mode.restore_rank_state(state["own"])
        step, seen, sent = make_step(optimizer, variables), [], []
        for number in steps:
            step(gradients_of(hvd.rank(), number))
            seen.append([np.array(v) for v in variables])
            sent.append(synchronizer.mode.bytes_sent(number + 1))
    return {
        "weights": seen,
        "sent": sent,
        "shared": synchronizer.state(optimizer),
        "own": synchronizer.mode.rank_state(),
        "chosen": synchronizer.mode.chosen().get("compression"),
        "messages": messages.texts,
    }


class Messages(logging.Handler):
    """Collects what the package logs."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())

    def __enter__(self):
        logger = logging.getLogger("hvd_imgcls")
        self._level = logger.level
        logger.setLevel(logging.INFO)
        logger.addHandler(self)

    def __exit__(self, *exception):
        logger = logging.getLogger("hvd_imgcls")
        logger.removeHandler(self)
        logger.setLevel(self._level)


def require_same_arrays(got, expected):
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def require_same_weights(got, expected):
    for one, other in zip(got, expected, strict=True):
        require_same_arrays(one, other)


@pytest.mark.ranks(2)
def test_chooses_with_a_reason_and_trains_as_with_the_choice():
    results = run_on_ranks(train, arguments=[{}, range(NUM_STEPS)])
    chosen = results[0]["chosen"]
    assert chosen in FIXED
    assert results[1]["chosen"] == chosen
    fixed = run_on_ranks(train, arguments=[chosen, range(NUM_STEPS)])
    for got, expected in zip(results, fixed, strict=True):
        require_same_weights(got["weights"], expected["weights"])
    (message,) = results[0]["messages"]
    assert message.startswith(f"compression {chosen}")
    assert all(f"{name} " in message for name in FIXED)
    assert message.count(" ms") >= NUM_WAYS + 1
    assert message.count(" kB") == NUM_WAYS
    assert results[1]["messages"] == []
    # What was measured is the same on all ranks from then on.
    np.testing.assert_array_equal(*(result["own"]["times"][0] for result in results))


@pytest.mark.ranks(2)
@pytest.mark.parametrize(
    "choice", [0, *(pytest.param(choice, marks=pytest.mark.slow) for choice in range(1, NUM_WAYS))]
)
def test_weights_are_those_of_the_fixed_choice(choice):
    name = list(FIXED)[choice]
    results = run_on_ranks(train, arguments=[{"choice": choice}, range(NUM_STEPS)])
    fixed = run_on_ranks(train, arguments=[name, range(NUM_STEPS)])
    for got, expected in zip(results, fixed, strict=True):
        assert got["chosen"] == name
        require_same_weights(got["weights"], expected["weights"])
        require_same_arrays(got["own"]["residuals"], expected["own"]["residuals"])
    if choice:
        exact = run_on_ranks(train, arguments=["none", range(NUM_STEPS)])
        weights, others = (one[0]["weights"] for one in (results, exact))
        require_same_weights(weights[:NUM_TRIALS], others[:NUM_TRIALS])
        assert (flat(weights[NUM_TRIALS]) != flat(others[NUM_TRIALS])).any()


@pytest.mark.ranks(2)
def test_bytes_are_those_of_what_was_sent():
    sent = {
        name: run_on_ranks(train, arguments=[name, range(NUM_TRIALS + 1)])[0]["sent"]
        for name in FIXED
    }
    none = sent["none"][0]
    each = [sent[name][-1] - sent[name][-2] for name in FIXED]
    assert each[0] == none > each[1] > each[2] > 0
    results = run_on_ranks(train, arguments=[{"choice": 2}, range(NUM_STEPS)])
    # In turn; what is measured compressed is sent once more.
    turns = [each[0], each[1] + none, each[2] + none] * (1 + ROUNDS) + [each[2]] * 4
    assert results[0]["sent"] == np.cumsum(turns).tolist()


def continue_from(compression, steps, states):
    import hvd_imgcls.keras as hvd

    return train(compression, steps, states[hvd.rank()])


@pytest.mark.ranks(2)
@pytest.mark.parametrize(
    "stop", [NUM_TRIALS - 2, pytest.param(NUM_TRIALS + 2, marks=pytest.mark.slow)]
)
def test_a_continued_training_ends_in_the_same_bits(stop):
    compression = {"choice": 2}
    whole = run_on_ranks(train, arguments=[compression, range(NUM_STEPS)])
    first = run_on_ranks(train, arguments=[compression, range(stop)])
    steps = range(stop, NUM_STEPS)
    rest = run_on_ranks(continue_from, arguments=[compression, steps, first])
    for got, expected in zip(rest, whole, strict=True):
        require_same_weights(got["weights"], expected["weights"][stop:])
        require_same_arrays(got["own"]["residuals"], expected["own"]["residuals"])
        assert got["sent"] == expected["sent"][stop:]
    if stop > NUM_TRIALS:
        assert rest[0]["messages"] == ["compression int8, as measured before"]
        # Not measured anew: another choice would be taken only then.
        other = run_on_ranks(continue_from, arguments=[{"choice": 0}, steps, first])
        require_same_weights(other[0]["weights"], rest[0]["weights"])


@pytest.mark.slow
@pytest.mark.ranks(2)
def test_on_other_ranks_it_measures_anew_and_loses_nothing():
    stop = NUM_TRIALS + 2
    first = run_on_ranks(train, arguments=[{"choice": 2}, range(stop)])
    assert any(np.abs(one).max() > 1e-4 for one in first[0]["own"]["residuals"])
    for result in first:
        result["shared"]["mode"]["trials"]["ranks"] = 3
    steps = range(stop, stop + NUM_TRIALS + 1)
    rest = run_on_ranks(continue_from, arguments=[{"choice": 0}, steps, first])
    assert rest[0]["messages"][0] == "compression measured anew: 2 instead of 3 ranks"
    assert rest[0]["chosen"] == "none"
    assert rest[0]["own"]["residuals"] == []
    gradients = [
        np.mean([gradients_of(r, step)[index] for r in range(2) for step in range(steps.stop)], 0)
        for index in range(3)
    ]
    for got, mean in zip(rest[0]["weights"][-1], gradients, strict=True):
        np.testing.assert_allclose(-got, mean * steps.stop, atol=2e-4)


def train_with_a_nan():
    """Returns the weights around an update with NaN on rank 1 that measures a candidate."""
    import keras

    import hvd_imgcls.keras as hvd
    from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

    optimizer = hvd.DistributedOptimizer(
        keras.optimizers.SGD(1.0), compression=automatic(2), skip_non_finite=True
    )
    variables = make_variables()
    step, seen = make_step(optimizer, variables), []
    for number in range(NUM_STEPS):
        gradients = gradients_of(hvd.rank(), number)
        if number in (1, NUM_STEPS - 2) and hvd.rank() == 1:
            gradients[0][3, 4] = np.nan
        step(gradients)
        residuals = synchronizer_of(optimizer).mode.rank_state()["residuals"]
        seen.append(flat([*[np.array(v) for v in variables], *residuals]))
    return seen


@pytest.mark.ranks(2)
def test_what_is_not_finite_leaves_no_trace():
    for seen in run_on_ranks(train_with_a_nan):
        for number in (1, NUM_STEPS - 2):
            np.testing.assert_array_equal(seen[number], seen[number - 1])
        assert np.isfinite(seen[-1]).all()
        assert (seen[-1] != seen[-2]).any()


@pytest.mark.slow
def test_one_rank_measures_nothing():
    (result,) = run_on_ranks(train, 1, arguments=[{"choice": 2}, range(NUM_STEPS)])
    (plain,) = run_on_ranks(train, 1, arguments=["none", range(NUM_STEPS)])
    require_same_weights(result["weights"], plain["weights"])
    assert (result["chosen"], result["sent"][-1], result["messages"]) == (None, 0, [])
