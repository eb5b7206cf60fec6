"""The index of TFRecord files: built once, by all processes together."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hvd_imgcls.environment.topology import launched_rank_and_size
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.files.atomic import replacing
from hvd_imgcls.files.parquet_files import read_parquet
from hvd_imgcls.logs import Pace

logger = logging.getLogger(__name__)

ROWS = pa.schema(
    [
        # Offset of the encoded image in the file; for ArrayRecord files, the record number.
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("label", pa.int64()),
        # XXH3, 64 bits, of the encoded image.
        ("checksum", pa.uint64()),
        ("class_name", pa.string()),
    ]
)
_FORMAT_VERSION = 1
_POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """Names of the features.

    Attributes:
        image: Feature with the encoded image.
        label: Feature with the label.
    """

    image: str
    label: str


Scan = Callable[[Path, Keys], pa.Table]


def indexed(
    files: Sequence[Path], folder: Path, index_dir: Path, keys: Keys, scan: Scan
) -> list[pa.Table]:
    """Returns the index rows of every file, with the schema `ROWS`.

    Not collective: ranks and other processes coordinate through file locks. Each takes a file
    that is not locked, and the lock of a process that is killed is released.

    Args:
        files: TFRecord files.
        folder: Folder that contains them.
        index_dir: Folder for the rows, one Parquet file per TFRecord file.
        keys: Names of the features.
        scan: Scans a whole file.

    Raises:
        ConfigError: If the index cannot be written.
        DataError: If a file is damaged.
    """
    tables: dict[Path, pa.Table] = {}
    rank, size = launched_rank_and_size()
    first = rank * len(files) // size
    waiting = [*files[first:], *files[:first]]
    pace = Pace()
    while waiting:
        left = []
        for file in waiting:
            rows_path = index_dir / f"{file.relative_to(folder)}.parquet"
            table = _take(file, rows_path, keys, scan)
            if table is None:
                left.append(file)
            else:
                tables[file] = table
            if pace.is_due():
                logger.info("index: %s of %s files", f"{len(tables):,}", f"{len(files):,}")
        if len(left) == len(waiting):
            # All remaining files are locked by other processes.
            time.sleep(_POLL_SECONDS)
        waiting = left
    return [tables[file] for file in files]


def _take(file: Path, rows_path: Path, keys: Keys, scan: Scan) -> pa.Table | None:
    """Returns the rows of a file; None if another process holds its lock."""
    stamp = _stamp(file, keys)
    table = _read(rows_path, stamp)
    if table is not None:
        return table
    try:
        rows_path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(rows_path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise ConfigError(
            "data.source.index_dir",
            got=str(rows_path.parent),
            expected=f"a writable folder ({error.strerror})",
            fix="set a folder for the index, the same on all hosts that share a disk",
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        table = _read(rows_path, stamp)
        if table is None:
            table = scan(file, keys)
            with replacing(rows_path) as partial:
                pq.write_table(table.replace_schema_metadata(stamp), partial)
        return table
    finally:
        os.close(lock)


def _stamp(file: Path, keys: Keys) -> dict[bytes, bytes]:
    """Returns what the rows depend on: a changed file is scanned again."""
    status = file.stat()
    values = (_FORMAT_VERSION, status.st_size, status.st_mtime_ns, keys.image, keys.label)
    return {b"of": repr(values).encode()}


def _read(path: Path, stamp: dict[bytes, bytes]) -> pa.Table | None:
    try:
        table = read_parquet(path)
    except (OSError, pa.ArrowException):
        return None
    metadata = table.schema.metadata or {}
    return table if metadata.get(b"of") == stamp[b"of"] else None
