"""Writes one record file and its rows of the index."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
import xxhash

from hvd_imgcls.data.sources.records.layout import INDEX_SCHEMA
from hvd_imgcls.files.atomic import replacing

# A record is its length (8 bytes), the checksum of the length (4), the data, and its checksum (4).
_BYTES_BEFORE, _BYTES_AFTER = 12, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One image to be written.

    Attributes:
        contents: The encoded image.
        label: Its class.
        class_name: Name of its class.
        name: Name for error messages.
        height: In pixels.
        width: In pixels.
    """

    contents: bytes
    label: int
    class_name: str
    name: str
    height: int
    width: int


def write_block(path: Path, part_path: Path, block: int, records: Iterable[Record]) -> int:
    """Writes a record file, then its rows of the index, each atomically.

    A file whose rows exist is complete, even if the process is killed.

    Args:
        path: The file.
        part_path: Parquet file for its rows.
        block: Number of the file.
        records: Its records.

    Returns:
        The number of records.
    """
    rows: list[dict[str, Any]] = []
    begin = 0
    with replacing(path) as partial, tf.io.TFRecordWriter(str(partial)) as writer:
        for position, record in enumerate(records):
            serialized = _serialize(record)
            writer.write(serialized)
            inside = serialized.index(record.contents)
            rows.append(
                {
                    "block": block,
                    "position": position,
                    "offset": begin + _BYTES_BEFORE + inside,
                    "size": len(record.contents),
                    "label": record.label,
                    "height": record.height,
                    "width": record.width,
                    "checksum": xxhash.xxh3_64_intdigest(record.contents),
                    "name": record.name,
                }
            )
            begin += _BYTES_BEFORE + len(serialized) + _BYTES_AFTER
    write_rows(part_path, pa.Table.from_pylist(rows, schema=INDEX_SCHEMA))
    return len(rows)


def write_rows(path: Path, rows: pa.Table) -> None:
    """Writes rows of the index atomically."""
    with replacing(path) as partial:
        pq.write_table(rows, partial)


def _serialize(record: Record) -> bytes:
    """Serializes a record with the keys of the ImageNet files that TensorFlow's tools read."""

    def of_bytes(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def of_number(value: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    features = {
        "image/encoded": of_bytes(record.contents),
        "image/class/label": of_number(record.label),
        "image/class/text": of_bytes(record.class_name.encode()),
        "image/filename": of_bytes(record.name.encode()),
        "image/height": of_number(record.height),
        "image/width": of_number(record.width),
    }
    serialized: bytes = tf.train.Example(
        features=tf.train.Features(feature=features)
    ).SerializeToString(deterministic=True)
    return serialized
