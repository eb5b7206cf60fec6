"""Converts metrics to JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def as_json(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Converts the values that callbacks have put into `logs` to JSON.

    >>> as_json({"loss": float("nan"), "rows": np.array([1.0, np.inf]), "who": "root"})
    {'loss': None, 'rows': [1.0, None], 'who': 'root'}

    Args:
        logs: Numbers, booleans, strings, tensors and arrays of numbers, and lists of these.
            NaN and infinity become None, since JSON does not support them.
    """
    return {name: _plain(value) for name, value in logs.items()}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return as_json(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return _plain(np.asarray(value).tolist())
