"""Record files as a source of images."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from hvd_imgcls.data.records.layout import INDEX_SCHEMA, RecordsDir, read_manifest
from hvd_imgcls.data.source import SPLITS, EncodedSource, Numbers, Split
from hvd_imgcls.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf

# Open files at a time; a process may usually have 1,024.
_MAX_OPEN_FILES = 256

_DAMAGED = "not what was written (its checksum is another); copy the file again, or prepare it"


class Records(EncodedSource):
    """Images in record files, read by (block, position).

    Args:
        path: The folder that `prepare` wrote.

    Raises:
        DataError: If the folder is not whole.
    """

    def __init__(self, path: Path) -> None:
        self._dir = RecordsDir(path)
        self._manifest = read_manifest(self._dir.manifest)
        self._index = {split: self._read_index(split) for split in SPLITS}
        self._places = {
            split: [index[name].to_numpy() for name in ("block", "offset", "size")]
            for split, index in self._index.items()
        }
        self._checksums = {
            split: index["checksum"].to_numpy() for split, index in self._index.items()
        }
        self._open = functools.lru_cache(maxsize=_MAX_OPEN_FILES)(_OpenFile)

    @property
    def class_names(self) -> Sequence[str]:
        """As the source had them."""
        return self._manifest.class_names

    @property
    def notes(self) -> Sequence[str]:
        """Nothing to be said."""
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

    def name_of(self, split: Split, example: int) -> str:
        """Returns the file, the record in it, and the name of the image it was made of."""
        row = {
            name: self._index[split][name][example].as_py()
            for name in ("block", "position", "name")
        }
        file = self._dir.block(split, row["block"])
        return f"{file}, record {row['position']} ({row['name']})"

    def read(self, split: Split, examples: Numbers) -> list[bytes]:
        """Returns the encoded images of some examples.

        Raises:
            DataError: If one is not what was written.
        """
        contents = self._read(split, examples)
        for example, content in zip(examples.tolist(), contents, strict=True):
            if self._is_damaged(split, example, content):
                raise DataError(f"{self.name_of(split, example)}: {_DAMAGED}")
        return contents

    def _read(self, split: Split, examples: Numbers) -> list[bytes]:
        """Returns what the files hold in the places of some examples, whatever that is."""
        blocks, offsets, sizes = (column[examples].tolist() for column in self._places[split])
        return [
            self._open(self._dir.block(split, block)).read(size, offset)
            for block, offset, size in zip(blocks, offsets, sizes, strict=True)
        ]

    def _is_damaged(self, split: Split, example: int, content: bytes) -> bool:
        return xxhash.xxh3_64_intdigest(content) != int(self._checksums[split][example])

    def make_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns a function from an example number to its encoded image.

        What is not what was written is a `tf.errors.OpError`.
        """
        import tensorflow as tf

        def read_one(example: np.ndarray) -> np.ndarray:
            (content,) = self._read(split, example.reshape(1))
            if self._is_damaged(split, int(example), content):
                raise DataError(_DAMAGED)
            return np.array(content, dtype=object)

        def read(example: tf.Tensor) -> tf.Tensor:
            content = tf.numpy_function(read_one, [example], tf.string, stateful=False)
            return tf.ensure_shape(content, [])

        return read

    def make_batch_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns a function from example numbers `[batch]` to encoded images `[batch]`.

        One call into Python for a batch: per record it costs more than the reading. In the
        place of what is not what was written is nothing, which no decoder takes for an image.
        """
        import tensorflow as tf

        def read_many(examples: np.ndarray) -> np.ndarray:
            contents = self._read(split, examples)
            for place, example in enumerate(examples.tolist()):
                if self._is_damaged(split, example, contents[place]):
                    contents[place] = b""
            return np.array(contents, dtype=object)

        def read(examples: tf.Tensor) -> tf.Tensor:
            contents = tf.numpy_function(read_many, [examples], tf.string, stateful=False)
            return tf.ensure_shape(contents, examples.shape)

        return read

    def _read_index(self, split: Split) -> pa.Table:
        path = self._dir.index(split)
        try:
            index = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{path}: cannot be read ({error}); prepare the folder again"
            ) from error
        if not index.schema.equals(INDEX_SCHEMA):
            raise DataError(f"{path}: other columns than an index has; prepare the folder again")
        expected = self._manifest.num_examples[split]
        if index.num_rows != expected:
            raise DataError(
                f"{path}: {index.num_rows:,} rows, expected {expected:,}; prepare the folder again"
            )
        self._require_blocks(split, index)
        labels, num_classes = index["label"].to_numpy(), len(self.class_names)
        if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
            raise DataError(
                f"{path}: labels from {labels.min()} to {labels.max()}, expected 0 to "
                f"{num_classes - 1}; prepare the folder again"
            )
        return index

    def _require_blocks(self, split: Split, index: pa.Table) -> None:
        ends = (index["offset"].to_numpy() + index["size"].to_numpy()).astype(np.int64)
        blocks = index["block"].to_numpy()
        firsts = np.flatnonzero(np.diff(blocks, prepend=-1))
        if not len(firsts):
            return
        needed_of = np.maximum.reduceat(ends, firsts).tolist()
        for block, needed in zip(blocks[firsts].tolist(), needed_of, strict=True):
            path = self._dir.block(split, block)
            try:
                size = path.stat().st_size
            except OSError as error:
                raise DataError(
                    f"{path}: {error.strerror}; copy it here, or prepare the folder again"
                ) from error
            if size < needed:
                raise DataError(
                    f"{path}: {size:,} bytes, but its records need {needed:,}; copy it again"
                )


class _OpenFile:
    """A file that is closed when nobody needs it any more."""

    def __init__(self, path: Path) -> None:
        self._descriptor = -1
        self._descriptor = os.open(path, os.O_RDONLY)

    def read(self, size: int, offset: int) -> bytes:
        """Reads inside of a method, so that the file stays open meanwhile.

        When two threads open one file, the cache keeps one of the two objects; it may
        also drop any at any time.
        """
        return os.pread(self._descriptor, size, offset)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
