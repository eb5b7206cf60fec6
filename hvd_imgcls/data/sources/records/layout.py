"""What a folder of record files holds, and how its files are called."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from hvd_imgcls.data.order.splits import Split
from hvd_imgcls.errors import DataError

FORMAT_VERSION = 1

INDEX_SCHEMA = pa.schema(
    [
        # Which file, and which record in it.
        ("block", pa.int32()),
        ("position", pa.int32()),
        # Where the encoded image begins in the file, and its bytes.
        ("offset", pa.int64()),
        ("size", pa.int32()),
        ("label", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        # XXH3, 64 bits, of the encoded image.
        ("checksum", pa.uint64()),
        ("name", pa.string()),
    ]
)

# What is known of every file without its rows.
BLOCK_SCHEMA = pa.schema(
    [
        ("block", pa.int32()),
        ("num_examples", pa.int32()),
        # Of the encoded images.
        ("num_bytes", pa.int64()),
        # Examples of every class.
        ("label_counts", pa.list_(pa.int32())),
        # XXH3, 64 bits, of the checksums and the labels of its rows.
        ("checksum", pa.uint64()),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What record files were made of. Equal manifests hold the same images.

    Attributes:
        class_names: Name of every class; a label is a position in it.
        num_examples: Examples of each split.
        examples_per_block: Examples of a file; the last one of a split may have fewer.
        seed: Seed of the order in which examples were dealt to the files.
        source_fingerprint: Fingerprint of the source.
        encoding: How images were changed: `max_side`, `quality` and `is_raw`.
        format_version: Version of this layout.
    """

    class_names: tuple[str, ...]
    num_examples: dict[Split, int]
    examples_per_block: int
    seed: int
    source_fingerprint: str
    encoding: dict[str, int | bool | None]
    format_version: int = FORMAT_VERSION

    def num_blocks(self, split: Split) -> int:
        """Returns the number of files of a split."""
        return -(-self.num_examples[split] // self.examples_per_block)

    def to_json(self) -> dict[str, Any]:
        """Returns the manifest as JSON holds it."""
        return {**asdict(self), "class_names": list(self.class_names)}


@dataclass(frozen=True, slots=True)
class RecordsDir:
    """Names of the files in a folder of record files.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def manifest(self) -> Path:
        """What is in the folder; there when everything is."""
        return self.path / "dataset.json"

    @property
    def plan(self) -> Path:
        """The manifest of what is being prepared."""
        return self.path / ".preparing.json"

    def index(self, split: Split) -> Path:
        """One row for every example of a split, in the order of the files."""
        return self.path / f"{split}.parquet"

    def blocks(self, split: Split) -> Path:
        """One row for every file of a split."""
        return self.path / f"{split}-blocks.parquet"

    @property
    def hosts(self) -> Path:
        """Which host gets which files, if that was asked for."""
        return self.path / "hosts.json"

    def host_index(self, split: Split, host: int, num_hosts: int) -> Path:
        """The rows of the index that one host needs."""
        return self.path / f"host-{host:03}-of-{num_hosts:03}-{split}.parquet"

    def host_files(self, host: int, num_hosts: int) -> Path:
        """Names of the files that one host needs, a line for each."""
        return self.path / f"host-{host:03}-of-{num_hosts:03}-files.txt"

    def block(self, split: Split, number: int) -> Path:
        """A file of records."""
        return self.path / f"{split}-{number:05}.tfrecord"

    def num_parts(self) -> int:
        """Returns how many files of all ranks are there."""
        return len(list(self.part("train", 0).parent.glob("*.parquet")))

    def part(self, split: Split, number: int) -> Path:
        """The rows of one file: there when the file is."""
        return self.path / ".parts" / f"{split}-{number:05}.parquet"


def read_manifest(path: Path) -> Manifest:
    """Reads a manifest.

    Raises:
        DataError: If it is missing, damaged or of another version.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        if tree["format_version"] != FORMAT_VERSION:
            raise DataError(
                f"{path}: record files of version {tree['format_version']}, expected "
                f"{FORMAT_VERSION}; prepare them again with this hvd_imgcls"
            )
        return Manifest(**{**tree, "class_names": tuple(tree["class_names"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); `hvd-imgcls prepare SOURCE {path.parent}` writes "
            "it when all record files are there"
        ) from error
