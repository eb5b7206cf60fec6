"""Encoded images packed into larger files, each read by one `pread`."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xxhash

from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.sources.base import EncodedSource
from hvd_imgcls.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf

# Maximum number of open files; processes are usually limited to 1,024.
_MAX_OPEN_FILES = 256

_DAMAGED = "damaged (its checksum has changed); copy or create the file again"


@dataclass(frozen=True, kw_only=True, slots=True)
class ByteRanges:
    """Positions of a split's encoded images in files.

    Attributes:
        files: The files.
        file: Index into `files` for every example, `[examples]`.
        offset: First byte in it, `[examples]`, int64.
        size: Number of bytes, `[examples]`.
        checksum: XXH3 of those bytes, 64 bits, `[examples]`, uint64.
    """

    files: Sequence[Path]
    file: npt.NDArray[np.integer]
    offset: npt.NDArray[np.int64]
    size: npt.NDArray[np.integer]
    checksum: npt.NDArray[np.uint64]


class PackedImages(EncodedSource):
    """A source whose images are byte ranges of files.

    Args:
        ranges: Byte ranges of each split.
    """

    def __init__(self, ranges: Mapping[Split, ByteRanges]) -> None:
        self._ranges = ranges
        self._open = functools.lru_cache(maxsize=_MAX_OPEN_FILES)(_OpenFile)

    def read(self, split: Split, examples: Numbers) -> list[bytes]:
        """Returns the encoded images of some examples.

        Raises:
            DataError: If one is damaged.
        """
        contents = self.read_ranges(split, examples)
        for example, content in zip(examples.tolist(), contents, strict=True):
            if self.is_damaged(split, example, content):
                raise DataError(f"{self.name_of(split, example)}: {_DAMAGED}")
        return contents

    def read_or_nothing(self, split: Split, examples: Numbers) -> list[bytes]:
        """Returns encoded images; damaged ones are empty, which no decoder accepts."""
        contents = self.read_ranges(split, examples)
        return [
            b"" if self.is_damaged(split, example, content) else content
            for example, content in zip(examples.tolist(), contents, strict=True)
        ]

    def read_ranges(self, split: Split, examples: Numbers) -> list[bytes]:
        """Returns the bytes at the positions of some examples, without verification.

        Raises:
            OSError: If a file cannot be read.
        """
        ranges = self._ranges[split]
        columns = (c[examples].tolist() for c in (ranges.file, ranges.offset, ranges.size))
        return [
            self._open(ranges.files[file]).read(size, offset)
            for file, offset, size in zip(*columns, strict=True)
        ]

    def is_damaged(self, split: Split, example: int, content: bytes) -> bool:
        """Returns whether the bytes differ from those written for an example."""
        return xxhash.xxh3_64_intdigest(content) != int(self._ranges[split].checksum[example])

    def make_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns a function from an example number to its encoded image.

        Damaged images raise a `tf.errors.OpError`.
        """
        import tensorflow as tf

        def read_one(example: np.ndarray) -> np.ndarray:
            (content,) = self.read_ranges(split, example.reshape(1))
            if self.is_damaged(split, int(example), content):
                raise DataError(_DAMAGED)
            return np.array(content, dtype=object)

        def read(example: tf.Tensor) -> tf.Tensor:
            content = tf.numpy_function(read_one, [example], tf.string, stateful=False)
            return tf.ensure_shape(content, [])

        return read

    def make_batch_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns a function from example numbers `[batch]` to encoded images `[batch]`.

        One call into Python per batch: one per record costs more than the reading. Damaged
        images are returned empty, which no decoder accepts.
        """
        import tensorflow as tf

        def read_many(examples: np.ndarray) -> np.ndarray:
            return np.array(self.read_or_nothing(split, examples), dtype=object)

        def read(examples: tf.Tensor) -> tf.Tensor:
            contents = tf.numpy_function(read_many, [examples], tf.string, stateful=False)
            return tf.ensure_shape(contents, examples.shape)

        return read


class _OpenFile:
    """A file that is closed when it is no longer referenced, so never while it is read."""

    def __init__(self, path: Path) -> None:
        self.descriptor = -1
        self.descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def read(self, size: int, offset: int) -> bytes:
        """Returns bytes at an offset; fewer at the end of the file."""
        return os.pread(self.descriptor, size, offset)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
