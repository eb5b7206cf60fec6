"""Variables as arrays, matched by position and checked by name and shape."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.keras.graph.variables import native_variable, variable_path

_ALIGNMENT = 64
"""Bytes; of the widest registers, and enough for any type."""

# Memory of earlier copies, by size: of weights, optimizer, statistics and metrics, and with frozen
# layers of other sizes later.
_PIECES: dict[int, list[np.ndarray]] = {}
_MAX_SIZES = 8
# Of the list, of the loop over it, and of the function that counts.
_REFERENCES_OF_FREE = 3


def arrays_of(variables: Sequence[Any]) -> dict[str, Any]:
    """Returns names and values of variables.

    A name is the last part of the path, without the numbers that Keras appends to layer names:
    they depend on what else a process has built.
    """
    return {
        "names": [_own_name(variable) for variable in variables],
        "values": _copies([native_variable(variable) for variable in variables]),
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


def _copies(variables: Sequence[Any]) -> list[np.ndarray]:
    """Returns copies of values, in one piece of memory.

    The operating system provides a large piece in large pages: many small ones take several times
    as long to touch first as to copy.
    """
    dtypes = [np.dtype(variable.dtype.as_numpy_dtype) for variable in variables]
    sizes = [
        variable.shape.num_elements() * dtype.itemsize
        for variable, dtype in zip(variables, dtypes, strict=True)
    ]
    starts = [0, *itertools.accumulate(-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes)]
    memory = _memory(starts.pop())
    copies = []
    for variable, dtype, start, size in zip(variables, dtypes, starts, sizes, strict=True):
        copy = memory[start : start + size].view(dtype).reshape(variable.shape)
        # Not `numpy()`, which copies.
        np.copyto(copy, np.asarray(variable.value()))
        copies.append(copy)
    return copies


def _memory(num_bytes: int) -> np.ndarray:
    """Returns a piece of memory, one that was used before if no copy is left in it.

    In a virtual machine, touching 205 MB for the first time took 0.3 to 1 s, copying them 0.03.
    """
    if num_bytes not in _PIECES and len(_PIECES) == _MAX_SIZES:
        _PIECES.clear()
    kept = _PIECES.setdefault(num_bytes, [])
    for memory in kept:
        if sys.getrefcount(memory) <= _REFERENCES_OF_FREE:
            return memory
    kept.append(np.empty(num_bytes, np.uint8))
    return kept[-1]


def _own_name(variable: Any) -> str:
    last = variable_path(variable).rsplit("/", 1)[-1].split(":")[0]
    return re.sub(r"_\d+(?=_|$)", "", last)
