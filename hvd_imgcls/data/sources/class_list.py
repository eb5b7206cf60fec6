"""Converts the labels of a table to a class list and integer labels."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvd_imgcls.data.order.splits import Numbers
from hvd_imgcls.data.sources.tables import as_text, is_number, plain, values_type
from hvd_imgcls.errors import ConfigError, DataError
from hvd_imgcls.files.class_lists import listed, repeated, require_possible_number

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
        labels: Whole numbers, or strings; strings that are integers in every row count as integers
            unless they are in the class list. Integers are indices into the class list.
        names: Class name of every row, if the labels are integers; some may be missing.
        pinned: The class list, if known. Otherwise strings are sorted in byte order, and
            integers must have no gap.
        where: Name of the column for error messages.

    Raises:
        DataError: If a label is missing, unknown or out of range, a class has two names or two
            classes one, or the names of the rows contradict the class list.
    """
    values = plain(labels, where)
    if pa.types.is_string(values.type):
        values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    empty = pc.indices_nonzero(pc.is_null(values)).to_pylist()
    if empty:
        raise DataError(f"{where}, row {empty[0] + 1}: no label; add one or remove the row")
    if is_number(values_type(labels)) and pa.types.is_string(values.type):
        raise DataError(_not_whole(values, where))
    numbers = _as_numbers(values, pinned)
    if numbers is None:
        return _of_text(values.cast(pa.string()).to_pylist(), pinned, where)
    if names is not None:
        of_rows = as_text(names, f"{where}, class names")
        if pinned is None:
            pinned = _names_of(numbers, of_rows, where)
        else:
            _require_agreement(numbers, of_rows, pinned, where)
    return _of_numbers(numbers, pinned, where)


def pinned_class_names(
    configured: Sequence[str] | None, key: str, metadata: Mapping[bytes, bytes] | None
) -> tuple[str, ...] | None:
    """Returns the class list of the configuration, or that in a Parquet file's metadata, or None.

    Args:
        configured: The list in the configuration, if any.
        key: Its configuration key.
        metadata: Metadata of the table.

    Raises:
        ConfigError: If a class is in it twice, or the metadata are no list of names.
    """
    names, origin = configured, key
    if not names and metadata and CLASS_NAMES_KEY in metadata:
        origin = "class_names in the metadata of the table"
        try:
            names = json.loads(metadata[CLASS_NAMES_KEY])
        except ValueError:
            names = ()
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ConfigError(
                origin,
                got=metadata[CLASS_NAMES_KEY].decode(errors="backslashreplace")[:80],
                expected="a JSON list of names",
                fix=f"write the table again, or set {key}",
            )
    twice = repeated(names or ())
    if twice is not None:
        raise ConfigError(
            origin,
            got=f"{listed(names or ())}",
            expected="every class once",
            fix=f"remove or rename one {twice!r}",
        )
    return tuple(names) if names else None


def _not_whole(values: pa.ChunkedArray, where: str) -> str:
    """Describes the first of some numbers that is no label."""
    rows = values.to_pylist()
    row = next(row for row, text in enumerate(rows) if not _is_int64(text))
    return (
        f"{where}, row {row + 1}: got {rows[row]}, expected a class name or a whole number, an "
        "index into the class list; correct it, or write the names of classes as text"
    )


def _is_int64(text: str) -> bool:
    try:
        return -(2**63) <= int(text) < 2**63
    except ValueError:
        return False


def _as_numbers(values: pa.ChunkedArray, pinned: Sequence[str] | None) -> Numbers | None:
    if pa.types.is_integer(values.type):
        return np.asarray(values.to_numpy())
    if pinned is not None and pc.all(pc.is_in(values, pa.array(pinned, pa.string()))).as_py():
        return None
    if not pc.all(pc.match_substring_regex(values, _WHOLE_NUMBER)).as_py():
        return None
    return np.asarray(values.cast(pa.int64()).to_numpy())


def _of_text(
    labels: Sequence[str], pinned: Sequence[str] | None, where: str
) -> tuple[tuple[str, ...], Numbers]:
    class_names = tuple(pinned or sorted(set(labels), key=os.fsencode))
    require_possible_number(len(class_names), where)
    label_of = {name: label for label, name in enumerate(class_names)}
    unknown = next((row for row, name in enumerate(labels) if name not in label_of), None)
    if unknown is not None:
        raise DataError(
            f"{where}, row {unknown + 1}: {labels[unknown]!r} is not in the class list "
            f"({listed(class_names)}); correct the label or the list"
        )
    return class_names, np.array([label_of[name] for name in labels], dtype=np.int64)


def _of_numbers(
    labels: Numbers, pinned: Sequence[str] | None, where: str
) -> tuple[tuple[str, ...], Numbers]:
    _require_range(labels, len(pinned) if pinned is not None else None, where)
    if pinned is None:
        _require_no_gaps(labels, where)
        require_possible_number(int(labels.max()) + 1, where)
        pinned = [str(label) for label in range(int(labels.max()) + 1)]
    return tuple(pinned), labels


def _require_range(labels: Numbers, limit: int | None, where: str) -> None:
    too_large = np.iinfo(np.int64).max if limit is None else limit
    wrong = np.flatnonzero((labels < 0) | (labels >= too_large))
    if len(wrong):
        expected = f"0 to {limit - 1}" if limit is not None else "0 or more"
        raise DataError(
            f"{where}, row {wrong[0] + 1}: got {labels[wrong[0]]}, expected {expected}; labels are "
            "indices into the class list, counted from 0"
        )


def _require_no_gaps(labels: Numbers, where: str) -> None:
    present = np.unique(labels)
    gaps = np.flatnonzero(present != np.arange(len(present)))
    if len(gaps):
        raise DataError(
            f"{where}: no row has label {gaps[0]}, but there are larger ones, up to "
            f"{present[-1]:,}; number the classes from 0 without gaps, or set the class list"
        )


def _names_of(labels: Numbers, names: Sequence[str | None], where: str) -> tuple[str, ...] | None:
    """Returns the name of every class, in the order of the labels; None if no row has one."""
    if not any(names):
        return None
    _require_range(labels, None, where)
    _require_no_gaps(labels, where)
    first_row: dict[int, int] = {}
    for row, (label, name) in enumerate(zip(labels.tolist(), names, strict=True)):
        if not name:
            continue
        before = first_row.setdefault(label, row)
        if names[before] != name:
            raise DataError(
                f"{where}: label {label} is called {names[before]!r} in row {before + 1} and "
                f"{name!r} in row {row + 1}; use one name per class"
            )
    number = int(labels.max()) + 1
    nameless = next((label for label in range(number) if label not in first_row), None)
    if nameless is not None:
        raise DataError(
            f"{where}: no row with label {nameless} has a class name, but other rows have; add it"
        )
    found = [str(names[first_row[label]]) for label in range(number)]
    twice = repeated(found)
    if twice is not None:
        one, other = [label for label, name in enumerate(found) if name == twice][:2]
        raise DataError(
            f"{where}: labels {one} and {other} are both called {twice!r}; use one name per class"
        )
    return tuple(found)


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
