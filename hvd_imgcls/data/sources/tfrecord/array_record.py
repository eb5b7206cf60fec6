"""ArrayRecord files of `tf.train.Example`: random access by record number."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from google.protobuf.message import DecodeError

from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.sources.tfrecord.array_record_file import open_file
from hvd_imgcls.data.sources.tfrecord.source import TfRecords

_MAX_OPEN_FILES = 64


class ArrayRecords(TfRecords):
    """Images in ArrayRecord files.

    Args:
        files: Files of each split.
        tables: Their index rows; `offset` is the record number.
        class_names: The class list, None if unknown.
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
        self._open_array = functools.lru_cache(maxsize=_MAX_OPEN_FILES)(open_file)

    def read_ranges(self, split: Split, examples: Numbers) -> list[bytes]:
        """Returns the encoded images of some examples; empty if they cannot be read."""
        import tensorflow as tf

        ranges = self._ranges[split]
        images = []
        for example in examples.tolist():
            reader = self._open_array(ranges.files[ranges.file[example]])
            try:
                (serialized,) = reader.read([int(ranges.offset[example])])
                features = tf.train.Example.FromString(serialized).features.feature
                images.append(features[self._image_key].bytes_list.value[0])
            except (RuntimeError, ValueError, IndexError, DecodeError):
                images.append(b"")
        return images
