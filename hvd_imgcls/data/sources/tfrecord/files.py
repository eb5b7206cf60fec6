"""The files of a dataset of records: which there are, and what is wrong with them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from hvd_imgcls.data.order.splits import Split
from hvd_imgcls.errors import ConfigError, DataError

_SHARD = re.compile(r"(.*)-(\d{5,})-of-(\d{5,})(.*)")


def files_of(folder: Path, pattern: str, key: str) -> list[Path]:
    """Returns the files that match a pattern, sorted.

    Args:
        folder: Folder of the dataset.
        pattern: Glob pattern relative to it.
        key: Name of its configuration key in `data.source`.

    Raises:
        ConfigError: If there is none.
        DataError: If a shard is missing.
    """
    files = sorted(
        (file for file in folder.glob(pattern) if file.is_file() and file.name[0] != "."),
        key=lambda file: str(file).encode(errors="surrogateescape"),
    )
    if not files:
        raise ConfigError(
            f"data.source.{key}",
            got=pattern,
            expected=f"a glob pattern of files in {folder}",
            fix="correct data.source.path or the pattern",
        )
    require_all_shards(files)
    return files


def require_all_shards(files: Sequence[Path]) -> None:
    """Raises an error if files are called `...-00003-of-00010` and one of the ten is missing."""
    present = set(files)
    sets = {
        (file.parent, match[1], len(match[2]), int(match[3]), match[3] + match[4])
        for file in files
        if (match := _SHARD.fullmatch(file.name))
    }
    for folder, begin, width, total, end in sorted(sets):
        for index in range(total):
            expected = folder / f"{begin}-{index:0{width}}-of-{end}"
            if expected not in present:
                raise DataError(
                    f"{expected}: missing, one of {total:,} shards of a dataset; copy it here"
                )


def require_different_files(files: Mapping[Split, Sequence[Path]], key: str, value: str) -> None:
    """Raises an error if a file is in both splits, also by a link.

    Args:
        files: Files of each split.
        key: Configuration key of the held-out files.
        value: Its value.

    Raises:
        ConfigError: Naming the file.
    """
    first = {(status.st_dev, status.st_ino): file for file, status in _statuses(files["train"])}
    for file, status in _statuses(files["held_out"]):
        same = first.get((status.st_dev, status.st_ino))
        if same is not None:
            raise ConfigError(
                key,
                got=value,
                expected="other files than the training files",
                fix=f"{file} is in both"
                + (f", by a link, as {same}" if same != file else "")
                + "; correct it",
            )


def _statuses(files: Sequence[Path]) -> list[tuple[Path, os.stat_result]]:
    return [(file, file.stat()) for file in files]


def empty_files(files: Sequence[Path], tables: Sequence[pa.Table]) -> list[Path]:
    """Returns the files of a split that have no records.

    Args:
        files: Files of the split.
        tables: Their index rows.

    Raises:
        DataError: If none has any.
    """
    empty = [file for file, table in zip(files, tables, strict=True) if not table.num_rows]
    if len(empty) == len(files):
        raise DataError(
            f"{files[0]}: empty file, and no other file of its split has records; "
            "copy or create them"
        )
    return empty
