"""Variables as arrays, matched by position and checked by name and shape."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.keras.graph.variables import native_variable, variable_path


def arrays_of(variables: Sequence[Any]) -> dict[str, Any]:
    """Returns names and values of variables.

    A name is the last part of the path, without the numbers that Keras appends to layer names:
    they depend on what else a process has built.
    """
    return {
        "names": [_own_name(variable) for variable in variables],
        "values": [np.array(native_variable(variable).numpy()) for variable in variables],
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


def _own_name(variable: Any) -> str:
    last = variable_path(variable).rsplit("/", 1)[-1].split(":")[0]
    return re.sub(r"_\d+(?=_|$)", "", last)
