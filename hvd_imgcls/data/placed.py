"""Encoded images inside larger files, each read by one `pread`."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hvd_imgcls.data.source import EncodedSource, Numbers, Split
from hvd_imgcls.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf

# Open files at a time; a process may usually have 1,024.
_MAX_OPEN_FILES = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where the encoded images of a split are.

    Attributes:
        files: The files.
        file: Position in `files` for every example, `[examples]`.
        offset: First byte in it, `[examples]`, int64.
        size: Number of bytes, `[examples]`.
    """

    files: Sequence[Path]
    file: npt.NDArray[np.integer]
    offset: npt.NDArray[np.int64]
    size: npt.NDArray[np.integer]


class PlacedImages(EncodedSource):
    """A source whose images have places in files.

    Args:
        places: Those of each split.
    """

    def __init__(self, places: Mapping[Split, Places]) -> None:
        self._places = places
        self._open = functools.lru_cache(maxsize=_MAX_OPEN_FILES)(_OpenFile)

    def read(self, split: Split, examples: Numbers) -> list[bytes]:
        """Returns the encoded images of some examples.

        Raises:
            DataError: If a file cannot be read or is cut short.
        """
        places = self._places[split]
        columns = (
            column[examples].tolist() for column in (places.file, places.offset, places.size)
        )
        return [
            self._read_one(split, int(example), places.files[file], offset, size)
            for example, file, offset, size in zip(examples, *columns, strict=True)
        ]

    def make_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns a function from an example number to its encoded image."""
        read_batch = self.make_batch_reader(split)

        def read(example: tf.Tensor) -> tf.Tensor:
            return read_batch(example[..., None])[0]

        return read

    def make_batch_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns a function from example numbers `[batch]` to encoded images `[batch]`.

        One call into Python for a batch: per record it costs more than the reading.
        """
        import tensorflow as tf

        def read_many(examples: np.ndarray) -> np.ndarray:
            return np.array(self.read(split, examples), dtype=object)

        def read(examples: tf.Tensor) -> tf.Tensor:
            contents = tf.numpy_function(read_many, [examples], tf.string, stateful=False)
            return tf.ensure_shape(contents, examples.shape)

        return read

    def _read_one(self, split: Split, example: int, path: Path, offset: int, size: int) -> bytes:
        try:
            content = os.pread(self._open(path).descriptor, size, offset)
        except OSError as error:
            raise DataError(
                f"{self.name_of(split, example)}: {error.strerror}; copy or make the file again"
            ) from error
        if len(content) != size:
            raise DataError(
                f"{self.name_of(split, example)}: {len(content)} bytes instead of {size}; copy or "
                "make the file again"
            )
        return content


class _OpenFile:
    """A file that is closed when nobody needs it any more."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)
