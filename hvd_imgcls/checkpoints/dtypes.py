"""Names of data types in checkpoints."""

from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import numpy as np

_SMALL = {
    np.dtype(kind).name: np.dtype(kind)
    for kind in vars(ml_dtypes).values()
    if isinstance(kind, type) and issubclass(kind, np.generic)
}
# Booleans, numbers, bytes and texts of a fixed length, dates; with their byte order.
_PLAIN = re.compile(r"[<>|][biufcSU][1-9][0-9]{0,8}|[<>][mM]8(\[[0-9]{0,9}[A-Za-z]{1,2}\])?")


def name_of(dtype: np.dtype[Any]) -> str:
    """Returns the name of a data type.

    It is NumPy's with the byte order, such as `<f4`, or that of ml_dtypes, such as `bfloat16`.

    Raises:
        TypeError: If it has no name here, such as structured types.
    """
    is_small = dtype.name in _SMALL and _SMALL[dtype.name] == dtype
    name = dtype.name if is_small else dtype.str
    if not _is_name_of(name, dtype):
        raise TypeError(f"arrays of {dtype} cannot be saved, expected numbers or texts")
    return name


def dtype_of(name: Any) -> np.dtype[Any]:
    """Returns the data type with a name that `name_of` returned.

    Raises:
        ValueError: If there is none.
    """
    if isinstance(name, str) and name in _SMALL:
        return _SMALL[name]
    if not isinstance(name, str) or not _PLAIN.fullmatch(name):
        raise ValueError(f"unknown data type {str(name)[:50]!r}")
    try:
        return np.dtype(name)
    except TypeError as error:
        raise ValueError(f"unknown data type {name!r}") from error


def _is_name_of(name: str, dtype: np.dtype[Any]) -> bool:
    try:
        return dtype_of(name) == dtype
    except ValueError:
        return False
