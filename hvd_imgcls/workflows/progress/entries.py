"""Metrics as JSON holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def as_json(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what callbacks have put into `logs`, as JSON holds it.

    >>> as_json({"loss": float("nan"), "rows": np.array([1.0, np.inf]), "who": "root"})
    {'loss': None, 'rows': [1.0, None], 'who': 'root'}

    Args:
        logs: Numbers, truth values, texts, tensors and arrays of numbers, and lists of these.
            What is not a finite number becomes None; JSON has no word for it.
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
