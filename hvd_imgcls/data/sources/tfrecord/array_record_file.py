"""Reading the records of an ArrayRecord file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hvd_imgcls.errors import DataError

_SCANNED_AT_ONCE = 256


def read_all(path: Path) -> Any:
    """Yields every record of a file.

    Raises:
        DataError: If it cannot be read completely.
    """
    try:
        reader = open_file(path)
        total = reader.num_records()
        for first in range(0, total, _SCANNED_AT_ONCE):
            yield from reader.read(list(range(first, min(first + _SCANNED_AT_ONCE, total))))
    except (RuntimeError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); prepare or copy it again") from error


def open_file(path: Path) -> Any:
    """Returns a reader of a file: `num_records()` and `read(numbers)`."""
    from array_record.python import array_record_module

    return array_record_module.ArrayRecordReader(
        str(path), "readahead_buffer_size:0,index_storage_option:in_memory"
    )
