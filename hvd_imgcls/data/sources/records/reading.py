"""Record files as a source of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from hvd_imgcls.data.order.splits import SPLITS, Numbers, Split
from hvd_imgcls.data.sources.byte_ranges import ByteRanges, PackedImages
from hvd_imgcls.data.sources.records.layout import INDEX_SCHEMA, RecordsDir, read_metadata
from hvd_imgcls.errors import DataError
from hvd_imgcls.files.parquet_files import read_parquet


class Records(PackedImages):
    """Images in record files, read by (file, record).

    Args:
        path: The folder that `prepare` wrote.

    Raises:
        DataError: If the folder is incomplete.
    """

    def __init__(self, path: Path) -> None:
        self._dir = RecordsDir(path)
        self._manifest = read_metadata(self._dir.metadata)
        self._index = {split: self._read_index(split) for split in SPLITS}
        super().__init__({split: self._places_of(split) for split in SPLITS})

    @property
    def class_names(self) -> Sequence[str]:
        """Class names of the original source."""
        return self._manifest.class_names

    @property
    def notes(self) -> Sequence[str]:
        """No remarks."""
        return ()

    @property
    def fingerprint(self) -> str:
        """Hash of the checksums of all images and of their labels."""
        hasher = xxhash.xxh3_64("\0".join(self.class_names).encode())
        for index in self._index.values():
            for column in ("checksum", "label"):
                hasher.update(np.ascontiguousarray(index[column].to_numpy()).data)
        return hasher.hexdigest()

    def num_examples(self, split: Split) -> int:
        """Returns the number of examples of a split."""
        return int(self._index[split].num_rows)

    def labels(self, split: Split) -> Numbers:
        """Returns the label of every example, `[examples]`, int64."""
        return self._index[split]["label"].to_numpy().astype(np.int64)

    def id_of(self, split: Split, example: int) -> str:
        """Returns the name that the image had in the original source."""
        return str(self._index[split]["name"][example].as_py())

    def name_of(self, split: Split, example: int) -> str:
        """Returns the file, the record number, and the original name of the image."""
        row = {
            name: self._index[split][name][example].as_py()
            for name in ("block", "position", "name")
        }
        file = self._dir.block(split, row["block"])
        return f"{file}, record {row['position']} ({row['name']})"

    def _places_of(self, split: Split) -> ByteRanges:
        index = self._index[split]
        return ByteRanges(
            files=[self._dir.block(split, n) for n in range(self._manifest.num_blocks(split))],
            file=index["block"].to_numpy(),
            offset=index["offset"].to_numpy(),
            size=index["size"].to_numpy(),
            checksum=index["checksum"].to_numpy(),
        )

    def _read_index(self, split: Split) -> pa.Table:
        path = self._dir.index(split)
        index = read_index(path)
        expected = self._manifest.num_examples[split]
        if index.num_rows != expected:
            raise DataError(
                f"{path}: {index.num_rows:,} rows, expected {expected:,}; prepare the folder again"
            )
        problem = missing_block(self._dir, split, index)
        if problem is not None:
            raise DataError(problem)
        require_labels(path, index, len(self.class_names))
        return index


def require_labels(path: Path, index: pa.Table, num_classes: int) -> None:
    """Raises an error if a label is out of range."""
    labels = index["label"].to_numpy()
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        raise DataError(
            f"{path}: labels from {labels.min()} to {labels.max()}, expected 0 to "
            f"{num_classes - 1}; prepare the folder again"
        )


def read_rows(path: Path) -> pa.Table:
    """Returns the rows of a Parquet file.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        return read_parquet(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read ({error}); prepare the folder again") from error


def read_index(path: Path) -> pa.Table:
    """Reads the rows of an index.

    Raises:
        DataError: If they cannot be read or lack the columns of an index.
    """
    index = read_rows(path)
    if not index.schema.equals(INDEX_SCHEMA):
        raise DataError(f"{path}: not the columns of an index; prepare the folder again")
    return index


def missing_block(files: RecordsDir, split: Split, index: pa.Table) -> str | None:
    """Returns which file of some rows is missing or truncated, None if all are complete.

    Args:
        files: The folder.
        split: The split of the rows.
        index: Rows of the index, in the order of the files.
    """
    ends = (index["offset"].to_numpy() + index["size"].to_numpy()).astype(np.int64)
    blocks = index["block"].to_numpy()
    firsts = np.flatnonzero(np.diff(blocks, prepend=-1))
    if not len(firsts):
        return None
    needed_of = np.maximum.reduceat(ends, firsts).tolist()
    for block, needed in zip(blocks[firsts].tolist(), needed_of, strict=True):
        path = files.block(split, block)
        try:
            size = path.stat().st_size
        except OSError as error:
            return f"{path}: {error.strerror}; copy it here, or prepare the folder again"
        if size < needed:
            return f"{path}: {size:,} bytes, but its records need {needed:,}; copy it again"
    return None
