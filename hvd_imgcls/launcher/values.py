"""Values of Python as JSON: numbers, text, lists, dictionaries and numpy arrays."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

_ARRAY = "__array__"


def encode(value: Any) -> bytes:
    """Returns a value as JSON. Tuples become lists, and scalars of numpy numbers.

    Raises:
        TypeError: If it contains something else.
    """
    return json.dumps(_encodable(value)).encode()


def decode(text: bytes) -> Any:
    """Returns the value of `encode`. Nothing in it is executed."""
    return json.loads(text, object_hook=_decoded)


def _encodable(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype != object:
        with io.BytesIO() as file:
            np.save(file, value, allow_pickle=False)
            return {_ARRAY: base64.b64encode(file.getvalue()).decode()}
    if isinstance(value, list | tuple):
        return [_encodable(entry) for entry in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _encodable(entry) for key, entry in value.items()}
    raise TypeError(
        f"got a value of type {type(value).__name__}, expected numbers, text, lists, dictionaries "
        "with text as keys, or numpy arrays; convert it, for example with np.asarray"
    )


def _decoded(value: dict[str, Any]) -> Any:
    if set(value) != {_ARRAY}:
        return value
    with io.BytesIO(base64.b64decode(value[_ARRAY])) as file:
        return np.load(file, allow_pickle=False)
