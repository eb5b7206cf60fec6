"""From the states of all ranks of a run to those of another number of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hvd_imgcls.keras.graph.random_states import NAME_OF_RANDOM_STATE, moved_apart
from hvd_imgcls.state_registry import State


def mean_statistics(states: Sequence[State], rank: int) -> State:
    """Returns the mean of moving statistics over all ranks, and random states apart by rank.

    Other variables that are not trained, such as counters, are the root's.

    Args:
        states: Results of `StatisticsState.state` of all ranks.
        rank: The rank that the state is for.
    """
    names = states[0]["names"]
    columns = zip(*(state["values"] for state in states), strict=True)
    return {
        "names": names,
        "values": [
            _combine(name, column, rank) for name, column in zip(names, columns, strict=True)
        ],
    }


def of_other_ranks(states: Sequence[State], rank: int) -> State:
    """Returns what the synchronization keeps on a rank, from that of all ranks.

    Parts of variables are put together. Of the rest, every rank gets the means: what the new ranks
    send on average is what the old ones would have sent.

    Args:
        states: Results of `SynchronizationState.state` of all ranks.
        rank: The rank that the state is for.
    """
    if "parts" not in states[0]:
        return mean_arrays(states, rank)
    columns = zip(*(state["parts"] for state in states), strict=True)
    return {"all parts": [np.concatenate(column) for column in columns]}


def mean_arrays(states: Sequence[State], rank: int) -> State:
    """Returns the means over all ranks, of lists of arrays by name, for every rank.

    Args:
        states: Results of `SynchronizationState.state` of all ranks.
        rank: The rank that the state is for.
    """
    del rank
    return {
        name: [
            np.mean([np.asarray(one, np.float64) for one in column], axis=0).astype(column[0].dtype)
            for column in zip(*(state[name] for state in states), strict=True)
        ]
        for name in states[0]
    }


def sum_on_root(states: Sequence[State], rank: int) -> State:
    """Returns the sums over all ranks for the root, and zeros for the others: for metrics.

    Args:
        states: Results of `MetricsState.state` of all ranks.
        rank: The rank that the state is for.
    """
    columns = zip(*(state["values"] for state in states), strict=True)
    sums = [np.sum(column, axis=0, dtype=column[0].dtype) for column in columns]
    return {
        "names": states[0]["names"],
        "values": sums if rank == 0 else [np.zeros_like(total) for total in sums],
    }


def first_epochs_of_all(states: Sequence[State], rank: int) -> State:
    """Returns the bad examples that any rank has encountered, for every rank.

    Args:
        states: Results of `BadExampleLog.state` of all ranks.
        rank: The rank that the state is for.
    """
    del rank
    first: dict[int, int] = {}
    for state in states:
        for example, epoch in zip(state["examples"], state["first_epochs"], strict=True):
            first[example] = min(epoch, first.get(example, epoch))
    return {"examples": list(first), "first_epochs": list(first.values())}


def _combine(name: str, values: Sequence[Any], rank: int) -> Any:
    if name == NAME_OF_RANDOM_STATE:
        return moved_apart(values[0], rank)
    if np.issubdtype(values[0].dtype, np.floating):
        mean = np.mean([np.asarray(value, np.float64) for value in values], axis=0)
        return mean.astype(values[0].dtype)
    return values[0]
