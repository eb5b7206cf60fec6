"""Layout of a folder of record files: file names, schemas, metadata."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from hvd_imgcls.data.order.splits import Split
from hvd_imgcls.errors import DataError
from hvd_imgcls.files.json_files import read_json
from hvd_imgcls.files.outside import MAX_NAMES_BYTES

FORMAT_VERSION = 1

INDEX_SCHEMA = pa.schema(
    [
        # File number, and record number within the file.
        ("block", pa.int32()),
        ("position", pa.int32()),
        # Offset and size of the encoded image in the file, in bytes.
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

# Facts about each file, available without its rows.
BLOCK_SCHEMA = pa.schema(
    [
        ("block", pa.int32()),
        ("num_examples", pa.int32()),
        # Total size of the encoded images.
        ("num_bytes", pa.int64()),
        # Number of examples of every class.
        ("label_counts", pa.list_(pa.int32())),
        # XXH3, 64 bits, of the checksums and the labels of its rows.
        ("checksum", pa.uint64()),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordsMetadata:
    """Metadata of record files. Equal metadata imply equal images.

    Attributes:
        class_names: Name of every class; a label is an index into it.
        num_examples: Number of examples in each split.
        examples_per_block: Examples per file; the last file of a split may have fewer.
        seed: Seed of the order in which examples are assigned to the files.
        source_fingerprint: Fingerprint of the source.
        encoding: How images were re-encoded: `max_side`, `quality` and `is_raw`.
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
        """Returns the number of files in a split."""
        return -(-self.num_examples[split] // self.examples_per_block)

    def to_json(self) -> dict[str, Any]:
        """Returns the metadata as a JSON object."""
        return {**asdict(self), "class_names": list(self.class_names)}


@dataclass(frozen=True, slots=True)
class RecordsDir:
    """File names in a folder of record files.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def metadata(self) -> Path:
        """Metadata of the folder; present once the folder is complete."""
        return self.path / "dataset.json"

    @property
    def plan(self) -> Path:
        """Metadata of the files being prepared."""
        return self.path / ".preparing.json"

    def index(self, split: Split) -> Path:
        """One row per example of a split, in file order."""
        return self.path / f"{split}.parquet"

    def blocks(self, split: Split) -> Path:
        """One row per file of a split."""
        return self.path / f"{split}-blocks.parquet"

    @property
    def hosts(self) -> Path:
        """Assignment of files to hosts, if they are divided."""
        return self.path / "hosts.json"

    def host_index(self, split: Split, host: int, num_hosts: int) -> Path:
        """Index rows of one host's files."""
        return self.path / f"host-{host:03}-of-{num_hosts:03}-{split}.parquet"

    def host_files(self, host: int, num_hosts: int) -> Path:
        """Names of one host's files, one per line."""
        return self.path / f"host-{host:03}-of-{num_hosts:03}-files.txt"

    def block(self, split: Split, number: int) -> Path:
        """A record file."""
        return self.path / f"{split}-{number:05}.tfrecord"

    def num_parts(self) -> int:
        """Returns how many files of all ranks are complete."""
        return len(list(self.part("train", 0).parent.glob("*.parquet")))

    def part(self, split: Split, number: int) -> Path:
        """Index rows of one file: present once the file is complete."""
        return self.path / ".parts" / f"{split}-{number:05}.parquet"


def read_metadata(path: Path) -> RecordsMetadata:
    """Reads the metadata of record files.

    Raises:
        DataError: If it is missing, damaged or of another version.
    """
    try:
        tree = read_json(path, MAX_NAMES_BYTES)
        if tree["format_version"] != FORMAT_VERSION:
            raise DataError(
                f"{path}: record files of version {tree['format_version']}, expected "
                f"{FORMAT_VERSION}; prepare them again with this hvd_imgcls"
            )
        return RecordsMetadata(**{**tree, "class_names": tuple(tree["class_names"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); `hvd-imgcls prepare SOURCE {path.parent}` writes "
            "it once all record files are complete"
        ) from error
