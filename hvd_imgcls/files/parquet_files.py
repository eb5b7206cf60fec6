"""Reads Parquet files that come from outside."""

from __future__ import annotations

import errno
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hvd_imgcls.files.outside import UnsuitableFileError, require_regular

MAX_ROWS = 500_000_000
"""Most rows of a table: an image per row, and 100 bytes of memory for each. A file of a few
kilobytes can claim more."""


def read_parquet(path: Path, max_rows: int = MAX_ROWS) -> pa.Table:
    """Returns the rows of a Parquet file. A column that it has twice is read twice.

    Args:
        path: The file.
        max_rows: Most rows that it may have.

    Raises:
        OSError: If it cannot be read, is no regular file, or has more rows.
        pa.ArrowException: If it is no Parquet file, or damaged.
    """
    require_regular(path)
    with pq.ParquetFile(path) as file:
        if file.metadata.num_rows > max_rows:
            reason = f"{file.metadata.num_rows:,} rows, more than the {max_rows:,} allowed"
            raise UnsuitableFileError(errno.EFBIG, reason, path)
        return file.read()
