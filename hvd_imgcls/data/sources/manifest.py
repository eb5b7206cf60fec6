"""A source of image files listed in a CSV or Parquet table."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from hvd_imgcls.config.sources import ManifestSource
from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.sources.class_list import pinned_class_names, resolve_labels
from hvd_imgcls.data.sources.file_source import FileSource
from hvd_imgcls.data.sources.splitting import split_by_fraction
from hvd_imgcls.errors import ConfigError, DataError

# Columns of a table written by `check-data`.
PATH_BYTES_COLUMN, PROBLEM_COLUMN = "path_bytes", "problem"
_DEFAULT_SPLIT_COLUMN = "split"


def open_manifest(config: ManifestSource) -> FileSource:
    """Returns the images listed in a table, in its order.

    Raises:
        ConfigError: If the table cannot be read or lacks a column.
        DataError: If a row is invalid.
    """
    path = Path(config.path).expanduser()
    table = read_table(path, "data.source.path")
    require_column(table, config.path_column, "data.source.path_column", path)
    require_column(table, config.label_column, "data.source.label_column", path)
    table, notes = _without_bad(table)
    split_of, other = _split_rows(table, config, path)
    if other is not None:
        notes.append(other)
    class_names, labels = resolve_labels(
        table[config.label_column],
        _column(table, config.class_name_column),
        config.class_names or pinned_class_names(table.schema.metadata),
        f"{path}, column {config.label_column}",
    )
    rows = split_of or split_by_fraction(labels, config.held_out_fraction, config.split_seed)
    files = _files(table, config, path)
    _require_distinct(files, labels, rows, path)
    for name in config.slice_columns:
        require_column(table, name, "data.source.slice_columns", path)
    columns = {name: table[name].cast(pa.string()).to_pylist() for name in config.slice_columns}
    return FileSource(
        Path(config.root).expanduser() if config.root else path.parent,
        class_names,
        {split: [files[row] for row in chosen] for split, chosen in rows.items()},
        {split: labels[chosen] for split, chosen in rows.items()},
        notes,
        {
            split: {name: [values[row] for row in chosen] for name, values in columns.items()}
            for split, chosen in rows.items()
        },
        is_split_at_random=split_of is None,
    )


def read_table(path: Path, key: str) -> pa.Table:
    """Reads a table; values of a CSV file are strings.

    Args:
        path: A `.csv` file, or else a Parquet file.
        key: Configuration key that names it, for error messages.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        if path.suffix.lower() == ".csv":
            with path.open(encoding="utf-8-sig") as file:
                header = file.readline()
            names = pyarrow.csv.read_csv(pa.BufferReader(header.encode())).column_names
            options = pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True
            )
            parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
            return pyarrow.csv.read_csv(path, convert_options=options, parse_options=parsing)
        return pq.read_table(path)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigError(
            key,
            got=str(path),
            expected=f"a .csv file in UTF-8 with a header, or a .parquet file ({reason})",
            fix="pass the table that lists the images",
        ) from error


def _column(table: pa.Table, name: str) -> pa.ChunkedArray | None:
    return table[name] if name in table.column_names else None


def require_column(table: pa.Table, name: str, key: str, path: Path) -> None:
    """Raises an error if a table lacks a column.

    Args:
        table: The table.
        name: Name of the column.
        key: Configuration key that names it.
        path: File of the table.

    Raises:
        ConfigError: If the column does not exist.
    """
    if name not in table.column_names:
        raise ConfigError(
            key,
            got=name,
            expected=f"a column of {path}, which has {', '.join(table.column_names)}",
            fix="correct the name",
        )


def _without_bad(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """Leaves out images that `check-data` found to be bad."""
    problems = _column(table, PROBLEM_COLUMN)
    if problems is None or not pa.types.is_string(problems.type):
        return table, []
    good = table.filter(pc.is_null(problems))
    number = table.num_rows - good.num_rows
    return good, ([f"{number:,} images left out that check-data found to be bad"] if number else [])


def _split_rows(
    table: pa.Table, config: ManifestSource, path: Path
) -> tuple[dict[Split, Numbers] | None, str | None]:
    """Returns the rows of each split if there is a split column, and a remark on other rows."""
    name = config.split_column or _DEFAULT_SPLIT_COLUMN
    if config.split_column is None and name not in table.column_names:
        return None, None
    require_column(table, name, "data.source.split_column", path)
    values = table[name].cast(pa.string())
    rows: dict[Split, Numbers] = {}
    value_of: dict[Split, tuple[str, str]] = {
        "train": ("train_value", config.train_value),
        "held_out": ("held_out_value", config.held_out_value),
    }
    for split, (key, value) in value_of.items():
        rows[split] = pc.indices_nonzero(pc.equal(values, value)).to_numpy().astype(np.int64)
        if not len(rows[split]):
            counts = {row["values"]: row["counts"] for row in pc.value_counts(values).to_pylist()}
            raise ConfigError(
                f"data.source.{key}",
                got=value,
                expected=f"a value in column {name} of {path}, which has "
                + ", ".join(f"{v!r} {n:,} times" for v, n in list(counts.items())[:5]),
                fix="correct it",
            )
    others = table.num_rows - sum(map(len, rows.values()))
    note = f"{others:,} images left out, with other values in column {name}" if others else None
    return rows, note


def _files(table: pa.Table, config: ManifestSource, path: Path) -> list[str]:
    files: list[str | None] = table[config.path_column].cast(pa.string()).to_pylist()
    raw = _column(table, PATH_BYTES_COLUMN)
    if raw is not None and pa.types.is_binary(raw.type):
        files = [
            os.fsdecode(own) if own is not None else file
            for own, file in zip(raw.to_pylist(), files, strict=True)
        ]
    for row, file in enumerate(files):
        if not file:
            raise DataError(f"{path}, row {row + 1}: no path; add one or remove the row")
    return [file for file in files if file is not None]


def _require_distinct(
    files: list[str], labels: Numbers, rows: dict[Split, Numbers], path: Path
) -> None:
    """Raises an error if an image is listed twice: with two labels, or in both splits."""
    first_row: dict[str, int] = {}
    for chosen in rows.values():
        for row in chosen.tolist():
            before = first_row.setdefault(os.path.normpath(files[row]), row)
            if before != row:
                labelled = f"labels {labels[before]} and {labels[row]}"
                raise DataError(
                    f"{path}: {files[row]} is listed in row {before + 1} and in row {row + 1} "
                    f"({labelled}); keep one of them"
                )
