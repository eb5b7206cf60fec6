"""Writes a value with arrays as two files, and reads it back.

`NAME.json` has the tree of `encoding.encode` under `value` and, under `arrays`, the data type and
the shape of every array. `NAME.bin` has the bytes of the arrays in C order, one after the other.
"""

from __future__ import annotations

import errno
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hvd_imgcls.checkpoints.disk import Disk
from hvd_imgcls.checkpoints.dtypes import dtype_of, name_of
from hvd_imgcls.checkpoints.encoding import Array, decode, encode
from hvd_imgcls.checkpoints.manifest import FileDigest
from hvd_imgcls.checkpoints.problems import DamagedCheckpointError, UnreadableCheckpointError
from hvd_imgcls.checkpoints.reading_files import FileReader, open_file
from hvd_imgcls.checkpoints.writing_files import new_file, write_whole
from hvd_imgcls.files.json_files import parse_json
from hvd_imgcls.files.outside import GIB, MAX_ENTIRE_BYTES

MAX_JSON_BYTES = GIB
"""Largest JSON file of a checkpoint, in bytes."""

_MAX_DIMENSIONS = 64  # NumPy's own limit.


@dataclass(frozen=True, slots=True)
class EncodedValue:
    """A value that is ready to be written.

    Attributes:
        json: The content of the JSON file.
        arrays: The arrays; they are not copied.
    """

    json: bytes
    arrays: list[Array]

    def write(self, directory: Path, name: str, disk: Disk) -> dict[str, FileDigest]:
        """Writes both files and returns their digests by file name.

        Args:
            directory: Where to.
            name: The file names without their suffixes.
            disk: The file system.

        Raises:
            OSError: If they cannot be written.
        """
        with new_file(directory / f"{name}.bin", disk) as file:
            for array in self.arrays:
                file.write_array(array)
        digest = write_whole(directory / f"{name}.json", self.json, disk)
        return {f"{name}.json": digest, f"{name}.bin": file.digest}


def encode_value(value: Any) -> EncodedValue:
    """Returns a value, ready to be written. Nothing is written if this fails.

    Args:
        value: What `encoding.encode` takes.

    Raises:
        TypeError: If it contains something that cannot be saved.
        ValueError: If it is nested too deeply, or is too large without its arrays.
    """
    tree, arrays = encode(value)
    table = [{"dtype": name_of(array.dtype), "shape": list(array.shape)} for array in arrays]
    text = json.dumps(
        {"value": tree, "arrays": table},
        allow_nan=False,
        ensure_ascii=False,
        separators=(",", ":"),
    )
    content = text.encode()
    if len(content) > MAX_JSON_BYTES:
        raise ValueError(
            f"a state without its arrays: {len(content):,} bytes, expected at most "
            f"{MAX_JSON_BYTES:,}; keep large values in arrays"
        )
    return EncodedValue(content, arrays)


def read_value(directory: Path, name: str, files: dict[str, FileDigest], disk: Disk) -> Any:
    """Reads a value, and compares the digests of both files on the way.

    Args:
        directory: The directory of the checkpoint.
        name: The file names without their suffixes.
        files: Sizes and digests of the files, by file name.
        disk: The file system.

    Returns:
        The value. Its arrays are new.

    Raises:
        CheckpointError: If a file is missing, damaged, or cannot be read.
    """
    json_path, array_path = directory / f"{name}.json", directory / f"{name}.bin"
    content = _read_json_file(json_path, files[json_path.name], disk)
    try:
        tree, kinds = _parse(content)
    except ValueError as error:
        raise DamagedCheckpointError(json_path, f"damaged: {error}") from error
    with open_file(array_path, disk) as file:
        arrays = _read_arrays(array_path, file, kinds, files[array_path.name])
    try:
        return decode(tree, arrays)
    except ValueError as error:
        raise DamagedCheckpointError(json_path, f"damaged: {error}") from error


def _read_json_file(path: Path, expected: FileDigest, disk: Disk) -> bytes:
    with open_file(path, disk, MAX_JSON_BYTES) as file:
        file.require_size(expected.bytes)
        content = bytearray(file.size)
        file.fill(memoryview(content))
        file.require_digest(expected.sha256)
    return bytes(content)


@dataclass(frozen=True, slots=True)
class _Kind:
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape)


def _parse(content: bytes) -> tuple[Any, list[_Kind]]:
    values = parse_json(content)
    if not isinstance(values, dict) or set(values) != {"value", "arrays"}:
        raise ValueError("expected a value and arrays")
    if not isinstance(values["arrays"], list):
        raise ValueError("expected a list of arrays")
    return values["value"], [_parse_kind(entry) for entry in values["arrays"]]


def _parse_kind(entry: Any) -> _Kind:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape"}:
        raise ValueError("expected the data type and the shape of every array")
    shape = entry["shape"]
    if not isinstance(shape, list) or len(shape) > _MAX_DIMENSIONS:
        raise ValueError("expected the shape of every array")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("expected sizes of dimensions")
    kind = _Kind(dtype_of(entry["dtype"]), tuple(shape))
    if kind.bytes > MAX_ENTIRE_BYTES:
        raise ValueError("an array that is larger than any file")
    return kind


def _read_arrays(
    path: Path, file: FileReader, kinds: list[_Kind], expected: FileDigest
) -> list[Array]:
    file.require_size(expected.bytes)
    total = sum(kind.bytes for kind in kinds)
    if total != file.size:
        raise DamagedCheckpointError(
            path, f"{file.size:,} bytes, expected {total:,} for its {len(kinds)} arrays"
        )
    arrays = []
    for kind in kinds:
        try:
            array: Array = np.empty(kind.shape, kind.dtype)
        except ValueError as error:
            raise DamagedCheckpointError(path, f"an array cannot be created: {error}") from error
        except MemoryError as error:
            raise UnreadableCheckpointError(path, OSError(errno.ENOMEM, str(error))) from error
        if array.nbytes:
            file.fill(array.reshape(-1).view(np.uint8).data)
        arrays.append(array)
    file.require_digest(expected.sha256)
    return arrays
