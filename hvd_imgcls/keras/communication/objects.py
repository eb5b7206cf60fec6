"""Broadcasts variables and objects, by default without pickle."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ProcessSet, global_process_set
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.communication.signatures import require_same_signatures
from hvd_imgcls.keras.graph.autograph import without_autograph
from hvd_imgcls.keras.graph.variables import native_variable


@without_autograph
def broadcast_variables(
    variables: Iterable[Any],
    root_rank: int,
    process_set: ProcessSet = global_process_set,
    inplace: bool = False,
    *,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Broadcasts the root's values. Collective: every rank must call this.

    The ranks first compare number, dtypes and shapes.

    Args:
        variables: Keras or TensorFlow variables, the same on all ranks in the same order.
        root_rank: Global rank whose values are used.
        process_set: The participating ranks.
        inplace: Accepted for compatibility with Horovod; variables are always updated in-place.
        facts: Other JSON values that must be equal on all ranks.

    Raises:
        RankMismatchError: On all ranks, if the variables differ. Inside a graph TensorFlow
            wraps it.
    """
    variables = list(variables)
    ranks = distributed.current()
    if process_set.size() == 1:
        return
    compared = require_same_signatures(
        variables, {"root_rank": root_rank, **(facts or {})}, process_set
    )
    for index, variable in enumerate(variables):
        native = native_variable(variable)
        with tf.control_dependencies([compared]):
            # The identity waits for the comparison; a read of a variable may not.
            value = tf.identity(native.read_value())
            value = ranks.broadcast(
                value, root_rank, name=f"variable_{index}", process_set=process_set
            )
            # On the root too: inside a graph, an operation with an unused result is pruned.
            native.assign(value)


def broadcast_object(
    obj: Any,
    root_rank: int = 0,
    session: Any = None,
    name: str | None = None,
    process_set: ProcessSet = global_process_set,
    *,
    allow_pickle: bool = False,
) -> Any:
    """Returns the object of `root_rank`. Collective: every rank must call this.

    Args:
        obj: None, a boolean, number, string, bytes or NumPy array, or a list, tuple or
            dictionary with string keys of these. Anything else requires `allow_pickle`.
        root_rank: Global rank whose object is used.
        session: Accepted for compatibility with Horovod.
        name: Accepted for compatibility with Horovod.
        process_set: The participating ranks.
        allow_pickle: Whether to send any object, by pickle. Anyone who can write to the ranks'
            connections can then run code on them.

    Raises:
        ConfigError: On all ranks, if the object requires pickle and it is not allowed.
    """
    ranks = distributed.current()
    payload, problem = b"", None
    if ranks.topology.rank == root_rank:
        payload, problem = _encode(obj, allow_pickle)
    problem = ranks.broadcast_json(problem, root_rank, process_set)
    if problem:
        raise _not_plain(problem)
    return _decode(ranks.broadcast_bytes(payload, root_rank, process_set), allow_pickle)


def allgather_object(
    obj: Any,
    session: Any = None,
    name: str | None = None,
    process_set: ProcessSet = global_process_set,
    *,
    allow_pickle: bool = False,
) -> list[Any]:
    """Returns every rank's object, by rank. Collective: every rank must call this.

    Arguments and errors as for `broadcast_object`.
    """
    ranks = distributed.current()
    payload, problem = _encode(obj, allow_pickle)
    problems = [p for p in ranks.gather_json(problem, process_set) if p]
    if problems:
        raise _not_plain(problems[0])
    return [_decode(part, allow_pickle) for part in ranks.gather_bytes(payload, process_set)]


def broadcast_object_fn(
    root_rank: int = 0,
    session: Any = None,
    name: str | None = None,
    process_set: ProcessSet = global_process_set,
) -> Callable[[Any], Any]:
    """Returns `broadcast_object` with these arguments, as a function of the object."""
    return lambda obj: broadcast_object(obj, root_rank, session, name, process_set)


def _not_plain(problem: str) -> ConfigError:
    return ConfigError(
        "object to send",
        got=problem,
        expected="plain values and NumPy arrays, since unpickling untrusted data can run code",
        fix="send its plain parts, or pass allow_pickle=True on a trusted network",
    )


def _encode(obj: Any, allow_pickle: bool) -> tuple[bytes, str | None]:
    """Returns the encoded bytes, or the type that cannot be encoded.

    Errors are returned and not raised, because the other ranks wait for an answer.
    """
    try:
        if allow_pickle:
            return pickle.dumps(obj), None
        return json.dumps(_to_json(obj)).encode(), None
    except Exception as error:
        return b"", str(error) or type(error).__name__


def _decode(payload: bytes, allow_pickle: bool) -> Any:
    if allow_pickle:
        return pickle.loads(payload)
    return _from_json(json.loads(payload))


def _to_json(obj: Any) -> Any:
    if isinstance(obj, np.ndarray | np.generic):
        buffer = io.BytesIO()
        np.save(buffer, obj, allow_pickle=False)
        return {"numpy": buffer.getvalue().hex()}
    if obj is None or isinstance(obj, bool | int | float | str):
        return obj
    if isinstance(obj, bytes):
        return {"bytes": obj.hex()}
    if isinstance(obj, list):
        return [_to_json(item) for item in obj]
    if isinstance(obj, tuple):
        return {"tuple": [_to_json(item) for item in obj]}
    if isinstance(obj, dict) and all(isinstance(key, str) for key in obj):
        return {"dict": {key: _to_json(value) for key, value in obj.items()}}
    raise TypeError(type(obj).__name__)


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "numpy":
        array = np.load(io.BytesIO(bytes.fromhex(content)), allow_pickle=False)
        return array if array.ndim else array[()]
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "tuple":
        return tuple(_from_json(item) for item in content)
    return {key: _from_json(item) for key, item in content.items()}
