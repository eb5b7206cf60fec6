"""Gathers the states of all ranks on the root, and gives the root's to all ranks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_imgcls.checkpoints.encoding import decode, encode
from hvd_imgcls.distributed.collectives import Collectives
from hvd_imgcls.state_registry import State

States = Mapping[str, State]


def gather_states(collectives: Collectives, states: States) -> list[dict[str, State]]:
    """Returns the states of all ranks but the root, by rank, on the root; elsewhere nothing.

    Collective: every rank must call this.

    Args:
        collectives: Communication between the ranks.
        states: What differs between the ranks; the root's is not sent.
    """
    is_root = collectives.topology.is_root
    if collectives.topology.size == 1:
        return []
    parts = collectives.gather_bytes(b"" if is_root else _to_bytes(states))
    return [_from_bytes(part) for part in parts[1:]] if is_root else []


def share_states(
    collectives: Collectives, states_by_rank: Sequence[States]
) -> list[dict[str, State]]:
    """Returns the root's `states_by_rank` on every rank, array by array.

    Collective: every rank must call this.

    Args:
        collectives: Communication between the ranks.
        states_by_rank: States of every rank; read on the root only.
    """
    if collectives.topology.size == 1:
        return [dict(states) for states in states_by_rank]
    tree, arrays = encode({"ranks": [dict(states) for states in states_by_rank]})
    header = collectives.broadcast_json({"tree": tree, "arrays": _describe(arrays)})
    own = arrays if collectives.topology.is_root else [None] * len(header["arrays"])
    shared = [
        _broadcast(collectives, array, dtype, shape)
        for array, (dtype, shape) in zip(own, header["arrays"], strict=True)
    ]
    ranks: list[dict[str, State]] = decode(header["tree"], shared)["ranks"]
    return ranks


def _describe(arrays: Sequence[np.ndarray]) -> list[Any]:
    return [[array.dtype.name, list(array.shape)] for array in arrays]


def _broadcast(
    collectives: Collectives, array: np.ndarray | None, dtype: str, shape: Sequence[int]
) -> np.ndarray:
    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if not num_bytes:
        return np.zeros(shape, np.dtype(dtype))
    flat = np.zeros(num_bytes, np.uint8) if array is None else _bytes_of(array)
    sent = collectives.broadcast(tf.convert_to_tensor(flat), 0, name="states.array")
    # A copy: the array of a tensor cannot be changed.
    return np.array(sent).view(np.dtype(dtype)).reshape(shape)


def _bytes_of(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(array.tobytes(), np.uint8)


def _to_bytes(states: States) -> bytes:
    """Returns a line of JSON and the contents of all arrays."""
    tree, arrays = encode(dict(states))
    header = json.dumps({"tree": tree, "arrays": _describe(arrays)}).encode()
    return b"".join([header, b"\n", *(array.tobytes() for array in arrays)])


def _from_bytes(payload: bytes) -> dict[str, State]:
    header, _, rest = payload.partition(b"\n")
    described = json.loads(header)
    arrays, position = [], 0
    for dtype, shape in described["arrays"]:
        end = position + math.prod(shape) * np.dtype(dtype).itemsize
        content = np.frombuffer(rest[position:end], np.uint8)
        arrays.append(content.view(np.dtype(dtype)).reshape(shape).copy())
        position = end
    return dict(decode(described["tree"], arrays))
