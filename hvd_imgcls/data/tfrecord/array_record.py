"""ArrayRecord files of `tf.train.Example`: random access by record number."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from google.protobuf.message import DecodeError

from hvd_imgcls.data.source import Numbers, Split
from hvd_imgcls.data.tfrecord.source import TfRecords
from hvd_imgcls.errors import DataError

_MAX_OPEN_FILES = 64
_SCANNED_AT_ONCE = 256


class ArrayRecords(TfRecords):
    """Images in ArrayRecord files.

    Args:
        files: Files of each split.
        tables: Their rows; `offset` is the number of the record.
        class_names: The class list, None if it is not known.
        image_key: Feature with the encoded image.
    """

    def __init__(
        self,
        files: Mapping[Split, Sequence[Path]],
        tables: Mapping[Split, Sequence[pa.Table]],
        *,
        class_names: Sequence[str] | None,
        image_key: str,
    ) -> None:
        super().__init__(files, tables, class_names=class_names)
        self._image_key = image_key
        self._open_array = functools.lru_cache(maxsize=_MAX_OPEN_FILES)(_open)

    def read_places(self, split: Split, examples: Numbers) -> list[bytes]:
        """Returns the encoded images of some examples; nothing for what cannot be read."""
        import tensorflow as tf

        places = self._places[split]
        images = []
        for example in examples.tolist():
            reader = self._open_array(places.files[places.file[example]])
            try:
                (serialized,) = reader.read([int(places.offset[example])])
                features = tf.train.Example.FromString(serialized).features.feature
                images.append(features[self._image_key].bytes_list.value[0])
            except (RuntimeError, ValueError, IndexError, DecodeError):
                images.append(b"")
        return images


def read_all(path: Path) -> Any:
    """Yields every record of a file.

    Raises:
        DataError: If it cannot be read to its end.
    """
    try:
        reader = _open(path)
        total = reader.num_records()
        for first in range(0, total, _SCANNED_AT_ONCE):
            yield from reader.read(list(range(first, min(first + _SCANNED_AT_ONCE, total))))
    except (RuntimeError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); prepare or copy it again") from error


def _open(path: Path) -> Any:
    from array_record.python import array_record_module

    return array_record_module.ArrayRecordReader(
        str(path), "readahead_buffer_size:0,index_storage_option:in_memory"
    )
