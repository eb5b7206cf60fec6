"""Variables as arrays, matched by position and checked by name and shape."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.keras.graph.variables import native_variable, variable_path
from hvd_imgcls.keras.state import copy_memory

_ALIGNMENT = 64
"""Bytes; of the widest registers, and enough for any type."""


def arrays_of(variables: Sequence[Any]) -> dict[str, Any]:
    """Returns names and values of variables.

    A name is the last part of the path, without the numbers that Keras appends to layer names:
    they depend on what else a process has built.
    """
    return {
        "names": [_own_name(variable) for variable in variables],
        "values": _copies(variables),
    }


def assign_arrays(variables: Sequence[Any], state: dict[str, Any], owner: str) -> None:
    """Assigns the result of `arrays_of`.

    Args:
        variables: The same variables, in this process or another.
        state: Names and values.
        owner: Name of their owner for error messages.

    Raises:
        CheckpointError: If number, names, shapes or dtypes differ.
    """
    names, values = state["names"], state["values"]
    if len(values) != len(variables):
        raise CheckpointError(
            f"{owner}: got {len(values)} variables, expected {len(variables)}; continue with the "
            "configuration that wrote them"
        )
    for variable, name, value in zip(variables, names, values, strict=True):
        native = native_variable(variable)
        got = f"{name} {value.dtype.name}{list(value.shape)}"
        expected = f"{_own_name(variable)} {native.dtype.name}{native.shape.as_list()}"
        if got != expected:
            raise CheckpointError(
                f"{owner}: got {got}, expected {expected}; continue with the configuration that "
                "wrote it"
            )
        native.assign(value)


def prepare_copies(groups: Sequence[Sequence[Any]]) -> threading.Thread:
    """Touches the memory of the copies in a thread, for `arrays_of` of these variables.

    Args:
        groups: Variables that are copied together.

    Returns:
        The thread, which nobody has to wait for.
    """
    return copy_memory.touch([_layout(group)[-1] for group in groups])


def _copies(variables: Sequence[Any]) -> list[np.ndarray]:
    """Returns copies of values, in one piece of memory.

    The operating system provides a large piece in large pages: many small ones take several times
    as long to touch first as to copy.
    """
    *starts, num_bytes = _layout(variables)
    memory = copy_memory.take(num_bytes)
    copies = []
    for variable, start in zip(variables, starts, strict=True):
        native = native_variable(variable)
        place = memory[start : start + _num_bytes(native)]
        copy = place.view(native.dtype.as_numpy_dtype).reshape(native.shape)
        # Not `numpy()`, which copies.
        np.copyto(copy, np.asarray(native.value()))
        copies.append(copy)
    return copies


def _layout(variables: Sequence[Any]) -> list[int]:
    """Returns where each variable starts in one piece of memory, and the size of it, in bytes."""
    sizes = [_num_bytes(native_variable(variable)) for variable in variables]
    return [0, *itertools.accumulate(-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes)]


def _num_bytes(native: Any) -> int:
    return int(native.shape.num_elements()) * int(np.dtype(native.dtype.as_numpy_dtype).itemsize)


def _own_name(variable: Any) -> str:
    last = variable_path(variable).rsplit("/", 1)[-1].split(":")[0]
    return re.sub(r"_\d+(?=_|$)", "", last)
