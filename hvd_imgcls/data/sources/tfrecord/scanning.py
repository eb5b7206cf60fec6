"""Scans a record file to locate its images.

The format of TFRecord files is that of tensorflow/core/lib/io/record_writer.h: length
(8 bytes), checksum of the length (4), data, checksum of the data (4).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import tensorflow as tf
import xxhash
from google.protobuf.message import DecodeError

from hvd_imgcls.data.dataset_options import on_own_threads
from hvd_imgcls.data.sources.tfrecord.array_record_file import read_all
from hvd_imgcls.data.sources.tfrecord.index import ROWS, Keys
from hvd_imgcls.errors import DataError
from hvd_imgcls.files.outside import open_regular

_BYTES_BEFORE, _BYTES_AFTER = 12, 4
_GZIP = b"\x1f\x8b"
_CLASS_NAME_KEY = "image/class/text"
_KINDS = {"bytes_list": "bytes", "int64_list": "whole numbers", "float_list": "floats"}


def scan_tfrecord(path: Path, keys: Keys) -> pa.Table:
    """Returns one row per record of a TFRecord file, verifying all checksums.

    Raises:
        DataError: If the file is damaged or a record is incomplete; names the record.
    """
    begins = list(_walk(path))
    rows = []
    dataset = tf.data.TFRecordDataset(str(path)).with_options(on_own_threads(1))
    records = dataset.as_numpy_iterator()
    for number, begin in enumerate(begins):
        try:
            serialized = next(records)
        except tf.errors.OpError:
            raise DataError(
                f"{path}, record {number}: damaged (wrong checksum); copy the file again"
            ) from None
        row = _row(serialized, keys, f"{path}, record {number}")
        rows.append({**row, "offset": begin + row["offset"]})
    return pa.Table.from_pylist(rows, schema=ROWS)


def scan_array_record(path: Path, keys: Keys) -> pa.Table:
    """Returns one row per record of an ArrayRecord file.

    Raises:
        DataError: If the file is damaged or a record is incomplete; names the record.
    """
    rows = []
    for number, serialized in enumerate(read_all(path)):
        row = _row(serialized, keys, f"{path}, record {number}")
        rows.append({**row, "offset": number})
    return pa.Table.from_pylist(rows, schema=ROWS)


def _walk(path: Path) -> Iterator[int]:
    """Yields the start of every record's data, using only the lengths.

    A file without records is empty: writers with more shards than records create such files.
    """
    size = path.stat().st_size
    with open_regular(path) as file:
        if file.read(2) == _GZIP:
            raise DataError(f"{path}: compressed with gzip; decompress it, for example with gunzip")
        begin, number = 0, 0
        while begin < size:
            header = os.pread(file.fileno(), _BYTES_BEFORE, begin)
            length = struct.unpack_from("<Q", header)[0] if len(header) == _BYTES_BEFORE else size
            end = begin + _BYTES_BEFORE + length + _BYTES_AFTER
            if end > size:
                raise DataError(
                    f"{path}, record {number}: truncated, or not a TFRecord file (the record would "
                    f"end at byte {end:,}, the file has {size:,}); copy or create it again"
                )
            yield begin + _BYTES_BEFORE
            begin, number = end, number + 1


def _row(serialized: bytes, keys: Keys, where: str) -> dict[str, Any]:
    try:
        features = tf.train.Example.FromString(serialized).features.feature
    except DecodeError as error:
        raise DataError(f"{where}: not a tf.train.Example ({error})") from None
    image = _feature(features, keys.image, "bytes_list", where)
    label = _feature(features, keys.label, "int64_list", where)
    if not image:
        raise DataError(f"{where}: feature {keys.image} is empty; remove the record")
    name = None
    if _CLASS_NAME_KEY in features:
        name = _feature(features, _CLASS_NAME_KEY, "bytes_list", where).decode(
            errors="backslashreplace"
        )
    return {
        "offset": serialized.index(image),
        "size": len(image),
        "label": label,
        "checksum": xxhash.xxh3_64_intdigest(image),
        "class_name": name,
    }


def _feature(features: Any, key: str, kind: str, where: str) -> Any:
    """Returns the single value of a feature."""
    if key not in features:
        raise DataError(
            f"{where}: no feature {key}; it has {', '.join(sorted(features)) or 'none'}. "
            "Set the right names in data.source"
        )
    found = features[key].WhichOneof("kind")
    values = getattr(features[key], kind).value
    if found != kind or len(values) != 1:
        got = f"{len(getattr(features[key], found).value)} {_KINDS[found]}" if found else "nothing"
        raise DataError(f"{where}: feature {key} holds {got}, expected 1 of {_KINDS[kind]}")
    return values[0]
