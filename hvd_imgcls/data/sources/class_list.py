"""Converts the labels of a table to a class list and integer labels."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvd_imgcls.data.order.splits import Numbers
from hvd_imgcls.errors import DataError
from hvd_imgcls.files.class_lists import listed

# Metadata key of a Parquet file that pins the class list, as JSON.
CLASS_NAMES_KEY = b"class_names"
_WHOLE_NUMBER = r"^(0|[1-9][0-9]{0,8})$"


def resolve_labels(
    labels: pa.ChunkedArray,
    names: pa.ChunkedArray | None,
    pinned: Sequence[str] | None,
    where: str,
) -> tuple[tuple[str, ...], Numbers]:
    """Returns the class list and every example's index into it.

    Args:
        labels: Integers, or strings; strings that are integers in every row count as integers
            unless they are in the class list. Integers are indices into the class list.
        names: Class name of every row, if the labels are integers.
        pinned: The class list, if known. Otherwise strings are sorted in byte order, and
            integers must have no gap.
        where: Name of the column for error messages.

    Raises:
        DataError: If a label is missing, unknown or out of range, a class has two names, or the
            names of the rows contradict the class list.
    """
    empty = pc.indices_nonzero(pc.is_null(labels)).to_pylist()
    if empty:
        raise DataError(f"{where}, row {empty[0] + 1}: no label; add one or remove the row")
    numbers = _as_numbers(labels, pinned)
    if numbers is None:
        return _of_text(labels.cast(pa.string()).to_pylist(), pinned, where)
    if pinned is None and names is not None:
        pinned = _names_of(numbers, names.to_pylist(), where)
    elif pinned is not None and names is not None:
        _require_agreement(numbers, names.to_pylist(), pinned, where)
    return _of_numbers(numbers, pinned, where)


def pinned_class_names(metadata: Mapping[bytes, bytes] | None) -> tuple[str, ...] | None:
    """Returns the class list in a Parquet file's metadata, or None."""
    if not metadata or CLASS_NAMES_KEY not in metadata:
        return None
    return tuple(json.loads(metadata[CLASS_NAMES_KEY]))


def _as_numbers(labels: pa.ChunkedArray, pinned: Sequence[str] | None) -> Numbers | None:
    if pa.types.is_integer(labels.type):
        return np.asarray(labels.cast(pa.int64()).to_numpy())
    text = labels.cast(pa.string())
    if pinned is not None and pc.all(pc.is_in(text, pa.array(pinned, pa.string()))).as_py():
        return None
    if not pc.all(pc.match_substring_regex(text, _WHOLE_NUMBER)).as_py():
        return None
    return np.asarray(text.cast(pa.int64()).to_numpy())


def _of_text(
    labels: Sequence[str], pinned: Sequence[str] | None, where: str
) -> tuple[tuple[str, ...], Numbers]:
    class_names = tuple(pinned or sorted(set(labels), key=os.fsencode))
    label_of = {name: label for label, name in enumerate(class_names)}
    unknown = next((row for row, name in enumerate(labels) if name not in label_of), None)
    if unknown is not None:
        raise DataError(
            f"{where}, row {unknown + 1}: {labels[unknown]!r} is not in the class list "
            f"({_some(class_names)}); correct the label or the list"
        )
    return class_names, np.array([label_of[name] for name in labels], dtype=np.int64)


def _of_numbers(
    labels: Numbers, pinned: Sequence[str] | None, where: str
) -> tuple[tuple[str, ...], Numbers]:
    limit = len(pinned) if pinned is not None else np.iinfo(np.int32).max
    wrong = np.flatnonzero((labels < 0) | (labels >= limit))
    if len(wrong):
        expected = f"0 to {limit - 1}" if pinned is not None else "0 or more"
        raise DataError(
            f"{where}, row {wrong[0] + 1}: got {labels[wrong[0]]}, expected {expected}; labels are "
            "indices into the class list, counted from 0"
        )
    if pinned is None:
        present = np.unique(labels)
        gaps = np.flatnonzero(present != np.arange(len(present)))
        if len(gaps):
            raise DataError(
                f"{where}: no row has label {gaps[0]}, but there are larger ones; number the "
                "classes from 0 without gaps, or set the class list"
            )
        pinned = [str(label) for label in present.tolist()]
    return tuple(pinned), labels


def _names_of(labels: Numbers, names: Sequence[str | None], where: str) -> tuple[str, ...]:
    """Returns the name of every class, in the order of the labels."""
    first_row: dict[int, int] = {}
    for row, (label, name) in enumerate(zip(labels.tolist(), names, strict=True)):
        before = first_row.setdefault(label, row)
        if names[before] != name:
            raise DataError(
                f"{where}: label {label} is called {names[before]!r} in row {before + 1} and "
                f"{name!r} in row {row + 1}; use one name per class"
            )
    largest = max(first_row, default=-1)
    return tuple(str(names[first_row[i]]) if i in first_row else str(i) for i in range(largest + 1))


def _require_agreement(
    labels: Numbers, names: Sequence[str | None], pinned: Sequence[str], where: str
) -> None:
    """Raises an error if a row names a class that has another number in the class list.

    Other names for all classes are allowed: the list may rename them.
    """
    number_of = {name: number for number, name in enumerate(pinned)}
    for row, (label, name) in enumerate(zip(labels.tolist(), names, strict=True)):
        if name in number_of and number_of[name] != label:
            raise DataError(
                f"{where}, row {row + 1}: label {label} is called {name!r}, which is number "
                f"{number_of[name]} in the class list ({listed(pinned)}); order the list by the "
                "labels, or correct the row"
            )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
