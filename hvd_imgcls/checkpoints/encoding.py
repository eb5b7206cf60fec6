"""Turns a state into JSON and a list of arrays, and back, bit for bit.

JSON values stay what they are. Everything else is an object with one key:

| object | value |
|---|---|
| `{"$array": 3}` | the array with this index in the list |
| `{"$float": "7ff8000000000000"}` | NaN or infinity: the bits of a float64, in hexadecimal |
| `{"$int": "-0x1f..."}` | an integer of 64 bits or more, in hexadecimal |
| `{"$text": "eda080..."}` | a text with surrogates: its UTF-8 bytes, in hexadecimal |
| `{"$pairs": [["$a", 3], ...]}` | a dictionary with a key that begins with `$` or has surrogates |

There is neither a class nor a path of code in it, so reading cannot run anything.
"""

from __future__ import annotations

import math
import re
import struct
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MAX_DEPTH = 100
"""Most levels of nested lists and dictionaries."""

_FIRST_LARGE = 2**63
_HEXADECIMAL = re.compile(r"-?0x[0-9a-f]+")
_MARKS = ("$array", "$float", "$int", "$text", "$pairs")


def encode(value: Any) -> tuple[Any, list[Array]]:
    """Returns a value as JSON and arrays.

    Args:
        value: None, bool, int, float, str and arrays without Python objects, nested in lists and
            in dictionaries with string keys. NumPy's scalars are not among them.

    Returns:
        The tree, which is strict JSON, and the arrays, which are those in `value`, not copies.

    Raises:
        TypeError: If there is anything else in it.
        ValueError: If it is nested more than `MAX_DEPTH` levels deep, or contains itself.
    """
    arrays: list[Array] = []
    return _encode(value, arrays, "state", 0), arrays


def _encode(value: Any, arrays: list[Array], where: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"{where[:200]}: nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, np.ndarray):
        arrays.append(_require_plain_array(value, where))
        return {"$array": len(arrays) - 1}
    if isinstance(value, list):
        return [
            _encode(item, arrays, f"{where}[{index}]", depth + 1)
            for index, item in enumerate(value)
        ]
    if isinstance(value, dict):
        return _encode_dictionary(value, arrays, where, depth)
    return _encode_scalar(value, where)


def _encode_dictionary(
    value: dict[Any, Any], arrays: list[Array], where: str, depth: int
) -> dict[str, Any]:
    for key in value:
        if type(key) is not str:
            raise TypeError(f"{where}: the key {key!r} is not a string")
    items = {key: _encode(item, arrays, f"{where}.{key}", depth + 1) for key, item in value.items()}
    if any(key.startswith("$") or _has_surrogates(key) for key in items):
        return {"$pairs": [[_encode_scalar(key, where), item] for key, item in items.items()]}
    return items


def _encode_scalar(value: Any, where: str) -> Any:
    kind = type(value)
    if kind is float and not math.isfinite(value):
        return {"$float": struct.pack(">d", value).hex()}
    if kind is int and not -_FIRST_LARGE < value < _FIRST_LARGE:
        return {"$int": hex(value)}
    if kind is str and _has_surrogates(value):
        return {"$text": value.encode("utf-8", "surrogatepass").hex()}
    if value is None or kind in (bool, int, float, str):
        return value
    raise TypeError(f"{where}: {kind.__name__} is neither JSON nor an array")


def _require_plain_array(value: Array, where: str) -> Array:
    if type(value) is not np.ndarray:
        raise TypeError(f"{where}: {type(value).__name__}, expected a plain NumPy array")
    if value.dtype.hasobject:
        raise TypeError(f"{where}: an array of Python objects")
    return value


def _has_surrogates(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def decode(tree: Any, arrays: list[Array]) -> Any:
    """Returns the value that was encoded. Its dictionaries and lists are new; its arrays are not.

    Args:
        tree: The tree, parsed from JSON.
        arrays: The arrays.

    Raises:
        ValueError: If `encode` did not return this.
    """
    return _decode(tree, arrays, 0)


def _decode(tree: Any, arrays: list[Array], depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    if isinstance(tree, list):
        return [_decode(item, arrays, depth + 1) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if not any(key.startswith("$") for key in tree):
        return {key: _decode(item, arrays, depth + 1) for key, item in tree.items()}
    if len(tree) != 1 or next(iter(tree)) not in _MARKS:
        raise ValueError(f"unknown keys {str(sorted(tree))[:200]}")
    ((mark, content),) = tree.items()
    if mark == "$pairs":
        return _decode_pairs(content, arrays, depth)
    if mark == "$array":
        return _array_at(content, arrays)
    return _decode_scalar(mark, content)


def _decode_pairs(content: Any, arrays: list[Array], depth: int) -> dict[str, Any]:
    if not isinstance(content, list) or not all(
        isinstance(pair, list) and len(pair) == 2 for pair in content
    ):
        _refuse("$pairs", content)
    keys = [_decode(key, arrays, depth) for key, _ in content]
    if not all(isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
        _refuse("$pairs", content)
    items = [_decode(item, arrays, depth + 1) for _, item in content]
    return dict(zip(keys, items, strict=True))


def _array_at(index: Any, arrays: list[Array]) -> Array:
    if type(index) is not int or not 0 <= index < len(arrays):
        _refuse("$array", index)
    return arrays[index]


def _decode_scalar(mark: str, content: Any) -> float | int | str:
    if not isinstance(content, str):
        _refuse(mark, content)
    if mark == "$int":
        return int(content, 16) if _HEXADECIMAL.fullmatch(content) else _refuse(mark, content)
    raw = bytes.fromhex(content)
    if mark == "$text":
        return raw.decode("utf-8", "surrogatepass")
    if len(raw) != 8:
        _refuse(mark, content)
    number: float = struct.unpack(">d", raw)[0]
    return number


def _refuse(mark: str, content: Any) -> NoReturn:
    raise ValueError(f"{mark} with {str(content)[:100]!r}")
