"""A source of image files listed in a CSV or Parquet table."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvd_imgcls.config.data.sources import ManifestSource
from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.sources.class_list import pinned_class_names, resolve_labels
from hvd_imgcls.data.sources.file_source import FileSource
from hvd_imgcls.data.sources.splitting import split_by_fraction
from hvd_imgcls.data.sources.tables import (
    as_text,
    find_column,
    plain,
    read_table,
    require_column,
)
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
    table, notes = _without_bad(table, path)
    split_of, other = _split_rows(table, config, path)
    if other is not None:
        notes.append(other)
    class_names, labels = resolve_labels(
        table[config.label_column],
        find_column(table, config.class_name_column, path),
        pinned_class_names(config.class_names, "data.source.class_names", table.schema.metadata),
        f"{path}, column {config.label_column}",
    )
    rows = split_of or split_by_fraction(labels, config.held_out_fraction, config.split_seed)
    files = _files(table, config, path)
    root = Path(config.root).expanduser() if config.root else path.parent
    _require_distinct(files, labels, rows, path, root)
    columns = {
        name: as_text(
            require_column(table, name, "data.source.slice_columns", path), f"{path}, column {name}"
        )
        for name in config.slice_columns
    }
    return FileSource(
        root,
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


def _without_bad(table: pa.Table, path: Path) -> tuple[pa.Table, list[str]]:
    """Leaves out images that `check-data` found to be bad.

    Other tables may have a column of the same name.
    """
    problems = find_column(table, PROBLEM_COLUMN, path)
    if problems is None:
        return table, []
    if PATH_BYTES_COLUMN not in table.column_names:
        return table, [
            f"the column {PROBLEM_COLUMN} is not used: the table is not one of check-data, which "
            f"has a column {PATH_BYTES_COLUMN}"
        ]
    good = table.filter(pc.is_null(plain(problems, f"{path}, column {PROBLEM_COLUMN}")))
    number = table.num_rows - good.num_rows
    return good, ([f"{number:,} images left out that check-data found to be bad"] if number else [])


def _split_rows(
    table: pa.Table, config: ManifestSource, path: Path
) -> tuple[dict[Split, Numbers] | None, str | None]:
    """Returns the rows of each split if there is a split column, and a remark on other rows."""
    name = config.split_column or _DEFAULT_SPLIT_COLUMN
    if config.split_column is None and name not in table.column_names:
        return None, None
    column = require_column(table, name, "data.source.split_column", path)
    if config.train_value == config.held_out_value:
        raise ConfigError(
            "data.source.held_out_value",
            got=config.held_out_value,
            expected="another value than that of the training images",
            fix="correct it, or data.source.train_value",
        )
    values = plain(column, f"{path}, column {name}").cast(pa.string())
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
    where = f"{path}, column {config.path_column}"
    files = as_text(table[config.path_column], where)
    raw = find_column(table, PATH_BYTES_COLUMN, path)
    if raw is not None and (pa.types.is_binary(raw.type) or pa.types.is_large_binary(raw.type)):
        files = [
            os.fsdecode(own) if own is not None else file
            for own, file in zip(raw.to_pylist(), files, strict=True)
        ]
    for row, file in enumerate(files):
        if not file:
            raise DataError(f"{path}, row {row + 1}: no path; add one or remove the row")
    return [file for file in files if file is not None]


def _require_distinct(
    files: list[str], labels: Numbers, rows: dict[Split, Numbers], path: Path, root: Path
) -> None:
    """Raises an error if an image is listed twice: with two labels, or in both splits.

    Also by different paths, if a folder in one of them is a link.
    """
    real_folder = functools.cache(os.path.realpath)
    first_row: dict[str, int] = {}
    for chosen in rows.values():
        for row in chosen.tolist():
            folder, name = os.path.split(os.path.normpath(root / files[row]))
            before = first_row.setdefault(os.path.join(real_folder(folder), name), row)
            if before != row:
                labelled = f"labels {labels[before]} and {labels[row]}"
                raise DataError(
                    f"{path}: {files[row]} is listed in row {before + 1} and in row {row + 1} "
                    f"({labelled}); keep one of them"
                )
