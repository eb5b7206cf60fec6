"""Reads the tables that list images: CSV and Parquet files, with the types that libraries write."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from hvd_imgcls.errors import ConfigError, DataError
from hvd_imgcls.files.outside import require_regular
from hvd_imgcls.files.parquet_files import read_parquet


def read_table(path: Path, key: str) -> pa.Table:
    """Reads a table; values of a CSV file are strings, and empty ones are missing.

    Args:
        path: A `.csv` file, or else a Parquet file.
        key: Configuration key that names it, for error messages.

    Raises:
        ConfigError: If it cannot be read.
        DataError: If it has no rows.
    """
    try:
        table = _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigError(
            key,
            got=str(path),
            expected=f"a .csv file in UTF-8 with a header, or a .parquet file ({reason})",
            fix="pass the table that lists the images",
        ) from error
    if not table.num_rows:
        raise DataError(f"{path}: no rows, expected one per image; add them")
    return table


def _read_csv(path: Path) -> pa.Table:
    require_regular(path)
    parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
    with pyarrow.csv.open_csv(path, parse_options=parsing) as reader:
        names = reader.schema.names
    options = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        # Not "NA", "null", "nan" and others, which may be classes.
        null_values=[""],
        strings_can_be_null=True,
    )
    return pyarrow.csv.read_csv(path, convert_options=options, parse_options=parsing)


def _read_parquet(path: Path) -> pa.Table:
    # Unlike `read_table`, a file can be read that has a column twice, to say which.
    table = pq.read_table(path) if path.is_dir() else read_parquet(path)
    for index, field in enumerate(table.schema):
        # Many functions of pyarrow do not support views.
        if _is_view(field.type):
            text = table.column(index).cast(pa.string())
            table = table.set_column(index, field.name, text)
    return table


def require_column(table: pa.Table, name: str, key: str, path: Path) -> pa.ChunkedArray:
    """Returns a column.

    Args:
        table: The table.
        name: Name of the column.
        key: Configuration key that names it.
        path: File of the table.

    Raises:
        ConfigError: If the column does not exist, or exists several times.
    """
    column = find_column(table, name, path)
    if column is None:
        raise ConfigError(
            key,
            got=name,
            expected=f"a column of {path}, which has {', '.join(table.column_names)}",
            fix="correct the name",
        )
    return column


def find_column(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray | None:
    """Returns a column, None if there is none of this name.

    Args:
        table: The table.
        name: Name of the column.
        path: File of the table.

    Raises:
        ConfigError: If there are several columns of this name.
    """
    number = table.column_names.count(name)
    if number > 1:
        raise ConfigError(
            str(path),
            got=f"{number} columns {name}",
            expected="one",
            fix="remove or rename the others",
        )
    return table[name] if number else None


def plain(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """Returns a column as int64 if its values are whole numbers, else as strings.

    Numbers are whole independent of their type: libraries store whole numbers as floats if some
    are missing. Text stays text.

    Args:
        column: Text, numbers, booleans or dates, also as a dictionary (categorical). NaN is
            missing.
        where: Name of the column for error messages.

    Returns:
        int64 or string, with null for missing values.

    Raises:
        DataError: If it has values of another type, such as lists.
    """
    try:
        column = _without_dictionary(column)
        kind = column.type
        if pa.types.is_decimal(kind) or pa.types.is_floating(kind):
            floats = column.cast(pa.float64())
            column = pc.if_else(pc.is_nan(floats), pa.scalar(None, kind), column)
        if is_number(kind):
            try:
                return column.cast(pa.int64())
            except pa.ArrowInvalid:
                return column.cast(pa.string())
        if _is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
            return column.cast(pa.string())
    except pa.ArrowException as error:
        raise DataError(f"{where}: cannot be read ({error}); write it as text") from error
    raise DataError(
        f"{where}: got values of the type {kind}, expected text or numbers; convert the column"
    )


def as_text(column: pa.ChunkedArray, where: str) -> list[str | None]:
    """Returns the values of a column as text, None for missing ones. See `plain`."""
    values: list[str | None] = plain(column, where).cast(pa.string()).to_pylist()
    return values


def is_number(kind: pa.DataType) -> bool:
    """Returns whether a type is that of numbers."""
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def values_type(column: pa.ChunkedArray) -> pa.DataType:
    """Returns the type of the values of a column, also if it is a dictionary."""
    return column.type.value_type if pa.types.is_dictionary(column.type) else column.type


def _without_dictionary(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type)
    return column


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)
    )


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind))
