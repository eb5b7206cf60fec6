"""A rank of `bench bytes` and `bench slow-network`: steps of several arms in turns.

    python -m hvd_imgcls.bench.communication.step_arms RESULT WORK

A step waits for some time in place of a forward and backward pass, then reduces gradients of the
size of ResNet-18 and updates the weights with SGD with momentum. All gradients are there at the
same time, so that nothing is sent while others are still being computed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import hvd_imgcls.keras as hvd
from hvd_imgcls import distributed
from hvd_imgcls.bench.communication.ways import BY_NAME
from hvd_imgcls.bench.communication.work import ALONE, PLAIN, StepWork
from hvd_imgcls.bench.measuring.launching import show_progress
from hvd_imgcls.bench.measuring.ratio import alternating_order
from hvd_imgcls.bench.network.counters import Sent, sent_by_this_host
from hvd_imgcls.config.models import ResNet
from hvd_imgcls.distributed import Collectives
from hvd_imgcls.models import build_model

# Tracing, the checks of the first two updates, and congestion windows.
_WARM_UP_STEPS = 3

Step = Callable[[], Any]
Apply = Callable[[list[tf.Tensor], list[keras.Variable]], None]


def shapes_of_weights() -> list[tuple[int, ...]]:
    """Returns the shapes of the trainable weights of ResNet-18 for images of 32 x 32 pixels."""
    model = build_model(ResNet(name="resnet18", stem="small"), (32, 32, 3), 10)
    return [tuple(variable.shape) for variable in model.trainable_variables]


def _apply_of(name: str) -> Apply:
    """Returns what an arm does with its gradients."""
    sgd = keras.optimizers.SGD(0.01, momentum=0.9)
    if name == ALONE:
        return sgd.apply
    if name != PLAIN:
        return hvd.DistributedOptimizer(sgd, **BY_NAME[name].arguments(hvd)).apply
    import horovod.tensorflow as plain  # noqa: TID251 - the baseline

    def apply(gradients: list[tf.Tensor], variables: list[keras.Variable]) -> None:
        # What Horovod's DistributedGradientTape does.
        reduced = [
            plain.allreduce(gradient, op=plain.Average, name=f"plain_{index}")
            for index, gradient in enumerate(gradients)
        ]
        sgd.apply(reduced, variables)

    return apply


def make_step(name: str, sources: Sequence[tf.Variable], compute_seconds: float) -> Step:
    """Returns the step of an arm, compiled into a graph.

    Args:
        name: `plain Horovod`, `no communication` or the name of a way.
        sources: The gradients of this rank.
        compute_seconds: Time until they are there.
    """
    variables = [
        keras.Variable(tf.zeros(source.shape), name=f"weights_{index}")
        for index, source in enumerate(sources)
    ]
    apply = _apply_of(name)

    def wait() -> np.float32:
        time.sleep(compute_seconds)
        return np.float32(0)

    @tf.function(autograph=False)
    def step() -> None:
        # Numpy functions release Python's lock while they sleep.
        passed = [tf.numpy_function(wait, [], tf.float32)] if compute_seconds else []
        with tf.control_dependencies(passed):
            gradients = [source.read_value() for source in sources]
        apply(gradients, variables)

    return step


def measure(
    ranks: Collectives, work: StepWork, on_progress: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Runs the arms in turns.

    Collective: every rank must call this, on hosts of a simulated network.

    Returns:
        The same on every rank: number of weights and ranks, and for every arm the seconds per
        step of each turn, those of the slowest rank, and what each rank has sent per step.
    """
    random = np.random.default_rng(ranks.topology.rank)
    sources = [
        tf.Variable(random.normal(scale=1e-3, size=shape).astype(np.float32))
        for shape in shapes_of_weights()
    ]
    steps = {}
    for name in work.arms:
        on_progress(f"{name}: first steps")
        steps[name] = make_step(name, sources, work.compute_seconds)
        for _ in range(_WARM_UP_STEPS):
            steps[name]()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    sent = {name: Sent(0, 0) for name in steps}
    for number, (first, _) in enumerate(alternating_order(work.rounds), start=1):
        for name in list(steps) if first == 0 else reversed(list(steps)):
            on_progress(f"round {number} of {work.rounds}: {name}")
            taken, during = _turn(ranks, steps[name], work.steps)
            seconds[name].append(taken)
            sent[name] += during
    mine = {
        name: {"seconds": seconds[name], "sent by ranks": sent[name].to_json()} for name in steps
    }
    by_rank = ranks.gather_json(mine)
    arms = {}
    for name in steps:
        turns = zip(*(one[name]["seconds"] for one in by_rank), strict=True)
        arms[name] = {
            "seconds": [max(turn) for turn in turns],
            "sent by ranks": [one[name]["sent by ranks"] for one in by_rank],
        }
    return {
        "ranks": ranks.topology.size,
        "weights": sum(int(np.prod(source.shape)) for source in sources),
        "steps": work.rounds * work.steps,
        "arms": arms,
    }


def _turn(ranks: Collectives, step: Step, num_steps: int) -> tuple[float, Sent]:
    """Returns the seconds per step, and what this host has sent in all steps."""
    ranks.barrier()
    before, began = sent_by_this_host(), time.perf_counter()
    for _ in range(num_steps):
        step()
    taken = (time.perf_counter() - began) / num_steps
    # When this has arrived, so has everything before it.
    ranks.barrier()
    return taken, sent_by_this_host() - before


def main(words: list[str]) -> None:
    """Joins the ranks and measures; the root writes the results."""
    result, work = words
    ranks = distributed.start()
    distributed.devices.configure(
        intra_op_threads=1, inter_op_threads=2, local_rank=ranks.topology.local_rank
    )
    on_progress = show_progress if ranks.topology.is_root else lambda text: None
    results = measure(ranks, StepWork(**json.loads(work)), on_progress)
    if ranks.topology.is_root:
        Path(result).write_text(json.dumps(results), encoding="utf-8")
    ranks.barrier()


if __name__ == "__main__":
    main(sys.argv[1:])
