"""`data.allocation: dynamic` changes who computes what, and nothing of the result."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time

import numpy as np
import pytest

from tests.multirank.test_states import DIGITS, train
from tests.support.launch import run_on_ranks
from tests.support.program import hvd_imgcls, running

DYNAMIC = "--data.allocation={name: dynamic, window_seconds: 0.002, min_gain: 0.001}"
OPTIONS = (
    "--train.num_epochs=2",
    "--train.global_batch_size=64",
    "--train.last_batch=weighted",
    "--train.check_every_steps=5",
    "--model.num_filters=[4, 4]",
    "--schedule={name: constant, base_learning_rate: 0.05, warmup_epochs: 0}",
    "--logging={tensorboard: false, report: false}",
    "--checkpoint=null",
)
SYNCHRONIZED = "--synchronization.batch_normalization=synchronized"
FAST = "accumulation and mixup"
VARIANTS = {
    "no batch normalisation": ("--model={name: given}",),
    "synchronised batch normalisation": (SYNCHRONIZED,),
    "accumulation and mixup": (
        SYNCHRONIZED,
        "--train.gradient_accumulation_steps=2",
        "--augment=[{name: mixup}]",
    ),
    "loss scaling": (SYNCHRONIZED, "--train.precision=mixed_float16"),
    "class weights and delayed": (
        SYNCHRONIZED,
        "--train.class_weights=balanced",
        "--synchronization.mode=delayed",
    ),
}


def train_by_given_parts(directory, name, options, parts):
    """Trains; every decision is the next of `parts`, if given."""
    import itertools

    from hvd_imgcls.workflows.training import balancing, model
    from tests.multirank import test_states

    decisions = itertools.cycle(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(balancing, "balanced", lambda *_, **__: next(decisions))
        patch.setattr(test_states, "small_model", without_batch_normalization)
        allocations = []
        make = model.Allocation
        patch.setattr(
            model, "Allocation", lambda plan: allocations.append(make(plan)) or allocations[0]
        )
        result = train(directory, name, DIGITS, options)
    result["changes"] = [one.state() for one in allocations]
    return result


def train_both_ways(directory, options):
    parts = [(12, 52), (40, 24), (60, 4), (32, 32)]
    return (
        train_by_given_parts(directory, "static", options, [(32, 32)]),
        train_by_given_parts(directory, "dynamic", (*options, DYNAMIC), parts),
    )


def without_batch_normalization():
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, activation="relu", kernel_regularizer="l2"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


@pytest.mark.ranks(2)
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "variant",
    [FAST, *(pytest.param(one, marks=pytest.mark.slow) for one in VARIANTS if one != FAST)],
)
def test_other_parts_give_the_same_training_within_rounding(tmp_path, variant):
    options = (*OPTIONS, *VARIANTS[variant])
    results = run_on_ranks(train_both_ways, arguments=[str(tmp_path), options], timeout_seconds=300)
    static, dynamic = zip(*results, strict=True)
    # float16 has 11 bits.
    precision = 20 if variant == "loss scaling" else 1
    assert static[0]["changes"] == []
    assert dynamic[0]["changes"] == dynamic[1]["changes"]
    assert len(dynamic[0]["changes"][0]["steps"]) > 4
    for expected, got in zip(static[0]["weights"], dynamic[0]["weights"], strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-4 * precision)
    for expected, got in zip(static[0]["epochs"], dynamic[0]["epochs"], strict=True):
        assert got["loss"] == pytest.approx(expected["loss"], rel=1e-4 * precision)
        assert got["accuracy"] == pytest.approx(expected["accuracy"], abs=2e-3 * precision)
    for one, other in zip(dynamic[0]["weights"], dynamic[1]["weights"], strict=True):
        np.testing.assert_array_equal(one, other)


SLOWED = (
    "--train.num_epochs=100000",
    "--train.global_batch_size=256",
    "--model={name: resnet20}",
    "--data.allocation={name: dynamic, window_seconds: 1}",
    "--logging={tensorboard: false, report: false}",
    "--checkpoint=null",
    "--run_dir=run",
)


def examples_of(run):
    """Returns the examples of every rank in each epoch so far."""
    with contextlib.suppress(OSError):
        lines = (run / "metrics.jsonl").read_text().split("\n")[:-1]
        return [json.loads(line)["examples_by_rank"] for line in lines]
    return []


def wait_for_examples(program, run, condition):
    deadline = time.monotonic() + 200
    while not (examples := examples_of(run)) or not condition(*examples[-1]):
        assert program.process.poll() is None, program.output
        assert time.monotonic() < deadline, (examples, program.output)
        time.sleep(0.2)
    return examples


@contextlib.contextmanager
def at_half_speed(process):
    """Context manager in which a process is stopped for half of the time."""
    is_over = threading.Event()

    def slow_down():
        while not is_over.wait(0.01):
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.01)
            process.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=slow_down)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@pytest.mark.slow
@pytest.mark.ranks(2)
@pytest.mark.timeout(600)
def test_a_rank_that_is_slow_for_a_while_has_fewer_examples_for_a_while(tmp_path):
    run = tmp_path / "run"
    with running(hvd_imgcls("train", "digits_cnn", *SLOWED), size=2, cwd=tmp_path) as program:
        wait_for_examples(program, run, lambda *_: True)
        slow = program.rank_processes()[1]
        with at_half_speed(slow):
            wait_for_examples(program, run, lambda fast, slow: fast > 1.5 * slow)
        examples = wait_for_examples(program, run, lambda one, other: one < 1.2 * other)
        program.process.send_signal(signal.SIGTERM)
        # No checkpoint, to continue from.
        assert program.wait(240) == 143, program.output
    # All of them, every epoch: 1,438 digits without the last 158.
    assert {sum(of_epoch) for of_epoch in examples} == {1280}
    assert "from step" in (run / "log.txt").read_text()
