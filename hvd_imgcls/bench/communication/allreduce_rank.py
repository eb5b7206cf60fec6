"""A rank of `bench allreduce`.

python -m hvd_imgcls.bench.communication.allreduce_rank RESULT WORK
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from hvd_imgcls.bench.communication import raw_tcp
from hvd_imgcls.bench.communication.arithmetic import size_text
from hvd_imgcls.bench.communication.peer import start_torch
from hvd_imgcls.bench.communication.work import OURS, RAW, AllreduceWork
from hvd_imgcls.bench.measuring.rank_program import run_rank
from hvd_imgcls.bench.measuring.ratio import alternating_order
from hvd_imgcls.distributed import Collectives, ReduceOp
from hvd_imgcls.errors import HvdImgclsError
from hvd_imgcls.keras.communication import operations

# A turn has as many calls as take this long, but not more than the maximum.
_TURN_SECONDS, _MOST_CALLS = 0.3, 200
# Until threads, connections and congestion windows are warm.
_WARM_UP_CALLS = 3

# Seconds per call, from the size of the message in bytes and the number of calls.
SecondsPerCall = Callable[[int, int], float]


def measure(
    ranks: Collectives, work: AllreduceWork, on_progress: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Measures the link, and allreduces of all sizes, both sides in turns.

    Collective: every rank must call this.

    Args:
        ranks: At least two.
        work: What to measure.
        on_progress: Called on every rank before every size.

    Returns:
        The same on every rank: the link, and for every size the seconds per call of each turn of
        each side, those of the slowest rank.
    """
    on_progress("the link over TCP")
    link = raw_tcp.measure_ring(ranks)
    results: dict[str, Any] = {
        "ranks": ranks.topology.size,
        "hosts": len(set(ranks.gather_json(raw_tcp.address_of(ranks)))),
        "link": link.to_json(),
        "sizes": [],
    }
    with contextlib.ExitStack() as stack:
        sides: dict[str, SecondsPerCall] = {OURS: _Ours(ranks)}
        if work.torch_python:
            peer = stack.enter_context(start_torch(ranks, Path(work.torch_python)))
            results["torch"] = peer.read().split()[1]
            sides[RAW] = lambda num_bytes, calls: peer.ask(f"{num_bytes} {calls}")
        for num_bytes in work.sizes:
            on_progress(f"messages of {size_text(num_bytes)}")
            turns = _take_turns(ranks, sides, num_bytes, work.pairs)
            results["sizes"].append({"bytes": num_bytes, "seconds": turns})
    return results


def _take_turns(
    ranks: Collectives, sides: dict[str, SecondsPerCall], num_bytes: int, pairs: int
) -> dict[str, list[float]]:
    """Returns the seconds per call of every side in every turn, of the slowest rank."""
    taken = _slowest(ranks, sides, num_bytes, 1)
    if taken < _TURN_SECONDS:
        taken = _slowest(ranks, sides, num_bytes, _WARM_UP_CALLS)
    calls = max(1, min(_MOST_CALLS, int(_TURN_SECONDS / taken)))
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for first, _ in alternating_order(pairs):
        for name in list(sides) if first == 0 else reversed(list(sides)):
            ranks.barrier()
            seconds[name].append(sides[name](num_bytes, calls))
    by_rank = ranks.gather_json(seconds)
    return {
        name: [max(turns) for turns in zip(*(of_rank[name] for of_rank in by_rank), strict=True)]
        for name in sides
    }


def _slowest(
    ranks: Collectives, sides: dict[str, SecondsPerCall], num_bytes: int, calls: int
) -> float:
    """Returns the seconds per call of the slowest side on the slowest rank, the same on all."""
    mine = max(measure_side(num_bytes, calls) for measure_side in sides.values())
    return max(ranks.gather_json(mine))


class _Ours:
    """Times the allreduce that our optimizer uses, of float32 and compiled into a graph."""

    def __init__(self, ranks: Collectives) -> None:
        self._ranks = ranks
        self._num_bytes = 0
        self._reduce: Any = None

    def __call__(self, num_bytes: int, calls: int) -> float:
        """Returns the seconds per call. Collective: every rank must call this.

        Raises:
            HvdImgclsError: If a sum is wrong.
        """
        if num_bytes != self._num_bytes:
            self._prepare(num_bytes)
        self._ranks.barrier()
        began = time.perf_counter()
        for _ in range(calls):
            self._reduce()
        return (time.perf_counter() - began) / calls

    def _prepare(self, num_bytes: int) -> None:
        rank, size = self._ranks.topology.rank, self._ranks.topology.size
        tensor = tf.Variable(tf.fill([num_bytes // 4], float(rank + 1)))

        @tf.function
        def reduce() -> list[tf.Tensor]:
            return operations.grouped_allreduce(
                [tensor.read_value()], name=f"bench_{num_bytes}", op=ReduceOp.SUM
            )

        total = reduce()[0]
        if not bool(tf.reduce_all(total == size * (size + 1) / 2)):
            raise HvdImgclsError(f"the sum over ranks was {total[0]}, not {size * (size + 1) / 2}")
        self._reduce, self._num_bytes = reduce, num_bytes


if __name__ == "__main__":
    run_rank(sys.argv[1:], AllreduceWork, measure)
