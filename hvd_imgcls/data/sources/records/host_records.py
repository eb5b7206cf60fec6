"""Record files that are divided over hosts, each host storing its own part."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from hvd_imgcls.data.order.division import Division
from hvd_imgcls.data.order.splits import SPLITS, Numbers, Split
from hvd_imgcls.data.sources.byte_ranges import ByteRanges, PackedImages
from hvd_imgcls.data.sources.records.hosts import label_distances, read_assignment
from hvd_imgcls.data.sources.records.layout import RecordsDir, read_metadata
from hvd_imgcls.data.sources.records.reading import (
    missing_block,
    read_index,
    read_rows,
    require_labels,
)
from hvd_imgcls.errors import ConfigError

# The round being decoded, the next one, already received, and one in transit.
_KEPT_ROUNDS = 3


class HostRecords(PackedImages):
    """Images of all hosts, of which those of some hosts can be read here.

    Example numbers refer to all files, independent of the host.

    Args:
        path: The folder that `prepare` wrote, or the part of it copied to this host.
        exchange: Fraction of every epoch's slots that are filled from all hosts.

    Raises:
        DataError: If files that every host needs cannot be read. Problems with a host's own files
            are stored in `problems`.
    """

    division: Division

    def __init__(self, path: Path, exchange: float) -> None:
        self._dir = RecordsDir(path)
        self._manifest = read_metadata(self._dir.metadata)
        self._assignment = read_assignment(self._dir)
        self._blocks = {split: read_rows(self._dir.blocks(split)) for split in SPLITS}
        self.division = Division(
            shares={split: self._shares(split) for split in SPLITS}, exchange=exchange
        )
        self._visiting: deque[dict[int, bytes]] = deque(maxlen=_KEPT_ROUNDS)
        self.problems: dict[int, str] = {}
        tables = [self._read_share(host) for host in range(self.division.num_hosts)]
        self.hosts_here = tuple(h for h, table in enumerate(tables) if table is not None)
        self._names: dict[Split, dict[int, str]] = {}
        self._labels: dict[Split, Numbers] = {}
        ranges = {}
        for split in SPLITS:
            rows = [table[split] for table in tables if table is not None]
            ranges[split] = self._take(split, rows)
        super().__init__(ranges)

    @property
    def class_names(self) -> Sequence[str]:
        """Class names of the original source."""
        return self._manifest.class_names

    @property
    def notes(self) -> Sequence[str]:
        """How much the label distributions of the hosts differ."""
        distances = label_distances(self._blocks["train"], self._assignment, "train")
        return [
            f"the training labels of a host differ from those of all hosts by up to "
            f"{max(distances):.3f} (total variation distance)"
        ]

    @property
    def fingerprint(self) -> str:
        """Hash of the files' checksums and their assignment: the same on every host."""
        hasher = xxhash.xxh3_64("\0".join(self.class_names).encode())
        for split in SPLITS:
            hasher.update(np.ascontiguousarray(self._blocks[split]["checksum"].to_numpy()).data)
            hasher.update(np.array(self._assignment.host_of_block[split]).data)
        return hasher.hexdigest()

    @property
    def mean_bytes(self) -> float:
        """Mean size of an encoded training image."""
        blocks = self._blocks["train"]
        return float(blocks["num_bytes"].to_numpy().sum() / blocks["num_examples"].to_numpy().sum())

    def num_examples(self, split: Split) -> int:
        """Returns the number of examples in a split, on all hosts."""
        return self._manifest.num_examples[split]

    def labels(self, split: Split) -> Numbers:
        """Returns the label of every example, `[examples]`, int64; -1 if unknown on this host."""
        return self._labels[split]

    def complete_labels(self, split: Split, labels: Numbers) -> None:
        """Sets the labels of all hosts' examples."""
        self._labels[split] = labels

    def read_ranges(self, split: Split, examples: Numbers) -> list[bytes]:
        """Returns the bytes of local examples, or of examples received from other hosts.

        Raises:
            OSError: If a file cannot be read.
        """
        for kept in self._visiting:
            if split == "train" and len(examples) == 1 and int(examples[0]) in kept:
                return [kept[int(examples[0])]]
        return super().read_ranges(split, examples)

    def is_damaged(self, split: Split, example: int, content: bytes) -> bool:
        """Returns whether bytes are damaged; received images were verified by the sender."""
        return bool(self._ranges[split].size[example]) and super().is_damaged(
            split, example, content
        )

    def keep_visiting(self, contents: dict[int, bytes]) -> None:
        """Keeps training images received from other hosts, until two more rounds have arrived.

        To report an image that cannot be decoded, it is read again.
        """
        self._visiting.append(contents)

    def id_of(self, split: Split, example: int) -> str:
        """Returns the name of the image; empty if it is on another host."""
        return self._names[split].get(example, "")

    def name_of(self, split: Split, example: int) -> str:
        """Returns the file, the record number, and the image name if known on this host."""
        block, position = divmod(example, self._manifest.examples_per_block)
        name = self._names[split].get(
            example, f"on host {self._assignment.host_of_block[split][block]}"
        )
        return f"{self._dir.block(split, block)}, record {position} ({name})"

    def _shares(self, split: Split) -> list[Numbers]:
        lengths = self._blocks[split]["num_examples"].to_numpy()
        hosts = np.repeat(np.array(self._assignment.host_of_block[split]), lengths)
        return [np.flatnonzero(hosts == h) for h in range(self._assignment.num_hosts)]

    def _read_share(self, host: int) -> dict[Split, pa.Table] | None:
        """Returns the index rows of a host's files; None, with a stored reason, if incomplete."""
        tables = {}
        for split in SPLITS:
            path = self._dir.host_index(split, host, self._assignment.num_hosts)
            if not path.exists():
                self.problems[host] = f"{path}: missing; copy it here"
                return None
            tables[split] = read_index(path)
            require_labels(path, tables[split], len(self.class_names))
            problem = missing_block(self._dir, split, tables[split])
            if problem is not None:
                self.problems[host] = problem
                return None
        return tables

    def _take(self, split: Split, tables: Sequence[pa.Table]) -> ByteRanges:
        """Stores names and labels of rows, and returns the byte ranges of all examples."""
        number = self.num_examples(split)
        labels = np.full(number, -1, np.int64)
        file, checksum = np.zeros(number, np.int32), np.zeros(number, np.uint64)
        offset, size = np.zeros(number, np.int64), np.zeros(number, np.int64)
        names: dict[int, str] = {}
        for table in tables:
            blocks = table["block"].to_numpy()
            rows = blocks.astype(np.int64) * self._manifest.examples_per_block
            rows += table["position"].to_numpy()
            labels[rows] = table["label"].to_numpy()
            file[rows] = blocks
            offset[rows] = table["offset"].to_numpy()
            size[rows] = table["size"].to_numpy()
            checksum[rows] = table["checksum"].to_numpy()
            names.update(zip(rows.tolist(), table["name"].to_pylist(), strict=True))
        self._labels[split], self._names[split] = labels, names
        files = [self._dir.block(split, n) for n in range(self._manifest.num_blocks(split))]
        return ByteRanges(files=files, file=file, offset=offset, size=size, checksum=checksum)

    def require_whole_blocks(self, block_size: int) -> None:
        """Checks that no evaluation block spans two record files.

        Raises:
            ConfigError: If a block would have to be evaluated by two hosts.
        """
        per_file = self._manifest.examples_per_block
        if per_file % block_size and self._manifest.num_blocks("held_out") > 1:
            raise ConfigError(
                "evaluation.block_size",
                got=block_size,
                expected=f"a divisor of {per_file}, the images per file in "
                f"{self._dir.path}, so that every block is on one host",
                fix="change it, or prepare with another --examples-per-block",
            )
