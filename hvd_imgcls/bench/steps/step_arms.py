"""A rank of `bench step`. Run by `step.py`, on its own or under horovodrun."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

import hvd_imgcls.keras as hvd
from hvd_imgcls import distributed
from hvd_imgcls.bench.measuring.ratio import alternating_order
from hvd_imgcls.bench.steps import workload


def main(result_path: Path, pairs: int, steps: int, target_seconds: float) -> None:
    """Times the arms alternately; the root writes their times.

    Collective: every rank must call this.

    Args:
        result_path: JSON file for the times.
        pairs: Measurements of each arm.
        steps: Steps per measurement.
        target_seconds: Intended duration of the plain step.
    """
    hvd.init()
    ranks = distributed.current()
    distributed.devices.configure(
        intra_op_threads=1, inter_op_threads=2, local_rank=ranks.topology.local_rank
    )
    keras.utils.set_random_seed(0)
    batch_size = ranks.broadcast_json(workload.batch_size_for(target_seconds))
    batches = workload.make_batches(batch_size)
    ours = workload.make_model(hvd.DistributedOptimizer(_sgd()))
    plain = workload.make_model(_sgd(), ours.get_weights())
    ours.fit(
        batches,
        steps_per_epoch=20,
        shuffle=False,
        verbose=0,
        callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0)],
    )
    plain.fit(batches, steps_per_epoch=20, shuffle=False, verbose=0)
    num_bytes = 4 * sum(int(tf.size(v)) for v in ours.trainable_variables)
    reduce = _raw_allreduce(ranks, num_bytes)
    times: dict[str, list[float]] = {"ours": [], "plain": [], "allreduce": []}
    for order in alternating_order(pairs):
        for arm in order:
            model, name = ((ours, "ours"), (plain, "plain"))[arm]
            ranks.barrier()
            times[name].append(workload.seconds_per_step(model, batches, steps))
        times["allreduce"].append(_seconds_per_call(ranks, reduce, steps))
    # The step of a run takes as long as that of its slowest rank.
    slowest = {
        name: [max(rank[name][i] for rank in by_rank) for i in range(pairs)]
        for by_rank in [ranks.gather_json(times)]
        for name in times
    }
    if ranks.topology.is_root:
        facts: dict[str, Any] = {
            "size": ranks.topology.size,
            "batch_size": batch_size,
            "gradient_bytes": num_bytes,
            "controller": "mpi" if hvd.mpi_enabled() else "gloo" if hvd.gloo_enabled() else "none",
        }
        result_path.write_text(json.dumps({**facts, "seconds": slowest}))
    ranks.barrier()


def _sgd() -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(1e-3, momentum=0.9)


def _raw_allreduce(ranks: distributed.Collectives, num_bytes: int) -> Any:
    """Returns a compiled function that only reduces one tensor of `num_bytes`."""
    tensor = tf.Variable(tf.ones([num_bytes // 4]))

    @tf.function
    def reduce() -> tf.Tensor:
        return ranks.allreduce(
            tensor.read_value(), op=distributed.ReduceOp.AVERAGE, name="raw_allreduce"
        )

    reduce()
    return reduce


def _seconds_per_call(ranks: distributed.Collectives, call: Any, times: int) -> float:
    if ranks.topology.size == 1:
        return 0.0
    ranks.barrier()
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) / times


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
