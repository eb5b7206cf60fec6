"""Assigns record files to hosts, balancing images, bytes and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hvd_imgcls.data.order.splits import SPLITS, Split
from hvd_imgcls.data.sources.records.layout import BLOCK_SCHEMA, RecordsDir, RecordsMetadata
from hvd_imgcls.errors import ConfigError, DataError
from hvd_imgcls.files.atomic import write_text
from hvd_imgcls.files.json_files import read_json, write_json
from hvd_imgcls.files.outside import MAX_NAMES_BYTES
from hvd_imgcls.files.parquet_files import read_parquet

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """Assignment of record files to hosts.

    Attributes:
        num_hosts: Number of hosts.
        host_of_block: The host of every file in each split.
    """

    num_hosts: int
    host_of_block: dict[Split, tuple[int, ...]]


def write_assignment(files: RecordsDir, metadata: RecordsMetadata, num_hosts: int) -> Assignment:
    """Assigns prepared files to hosts and writes the index of every host.

    Args:
        files: The complete folder.
        metadata: Its metadata.
        num_hosts: Number of hosts.

    Raises:
        ConfigError: If a split has fewer files than there are hosts.
    """
    for split in SPLITS:
        if metadata.num_blocks(split) < num_hosts:
            smaller = max(1, metadata.num_examples[split] // (4 * num_hosts))
            raise ConfigError(
                "--hosts",
                got=num_hosts,
                expected=f"at most the {metadata.num_blocks(split)} files of the split {split}",
                fix=f"prepare into another folder with --examples-per-block {smaller}",
            )
    _remove_old(files)
    blocks = {split: read_parquet(files.blocks(split)) for split in SPLITS}
    assignment = Assignment(
        num_hosts=num_hosts,
        host_of_block={split: divide_blocks(blocks[split], num_hosts) for split in SPLITS},
    )
    for split in SPLITS:
        index = read_parquet(files.index(split))
        host_of_row = np.array(assignment.host_of_block[split])[index["block"].to_numpy()]
        for host in range(num_hosts):
            rows = index.filter(pa.array(host_of_row == host))
            pq.write_table(rows, files.host_index(split, host, num_hosts))
    for host in range(num_hosts):
        names = _names_for(files, assignment, host)
        write_text(files.host_files(host, num_hosts), "".join(f"{n}\n" for n in names))
    write_json(files.hosts, asdict(assignment))
    return assignment


def read_assignment(files: RecordsDir) -> Assignment:
    """Reads the assignment of files to hosts.

    Raises:
        DataError: If the files were not assigned, or the file is damaged.
    """
    try:
        tree = read_json(files.hosts, MAX_NAMES_BYTES)
        host_of_block = {split: tuple(tree["host_of_block"][split]) for split in SPLITS}
        return Assignment(num_hosts=int(tree["num_hosts"]), host_of_block=host_of_block)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{files.hosts}: cannot be read ({error}); `hvd-imgcls prepare SOURCE DEST --hosts N` "
            "writes it; copy it to every host"
        ) from error


def divide_blocks(blocks: pa.Table, num_hosts: int) -> tuple[int, ...]:
    """Assigns every record file to a host: greedily, largest files first.

    Each file goes to the host that is then furthest below its share of images; among equals,
    to the one where bytes and labels fit best.

    Args:
        blocks: Rows of `BLOCK_SCHEMA`.
        num_hosts: Number of hosts.

    Returns:
        A host for every row. Numbers of images differ by at most the largest file.
    """
    num_examples = blocks["num_examples"].to_numpy()
    amounts = _amounts(blocks)
    fair = amounts.sum(axis=0) / num_hosts
    images = np.zeros(num_hosts, np.int64)
    held = np.zeros((num_hosts, amounts.shape[1]))
    hosts = np.zeros(len(amounts), np.int64)
    for block in np.lexsort([-amounts[:, 0], -num_examples]).tolist():
        candidates = np.flatnonzero(images == images.min())
        over = np.maximum(held[candidates] + amounts[block] - fair, 0)
        best = candidates[np.argmin(over[:, 0] + over[:, 1:].mean(axis=1))]
        hosts[block] = best
        images[best] += num_examples[block]
        held[best] += amounts[block]
    return tuple(hosts.tolist())


def describe_assignment(blocks: dict[Split, pa.Table], assignment: Assignment) -> str:
    """Describes the files of every host as lines of text."""
    lines = []
    distances = {split: label_distances(blocks[split], assignment, split) for split in SPLITS}
    for host in range(assignment.num_hosts):
        parts = []
        for split in SPLITS:
            chosen = blocks[split].filter(
                pa.array(np.array(assignment.host_of_block[split]) == host)
            )
            parts.append(
                f"{split} {pc.sum(chosen['num_examples']).as_py() or 0:,} images in "
                f"{chosen.num_rows} files, {(pc.sum(chosen['num_bytes']).as_py() or 0) / 1e6:,.1f} "
                f"MB, label distance {distances[split][host]:.3f}"
            )
        lines.append(f"  host {host}: " + "; ".join(parts))
    return "\n".join(lines)


def label_distances(blocks: pa.Table, assignment: Assignment, split: Split) -> list[float]:
    """Returns the distance between every host's label distribution and the global one.

    Total variation distance: 0 means equal, 1 means no class in common.
    """
    counts = _label_counts(blocks)
    total = counts.sum(axis=0) / counts.sum()
    hosts = np.array(assignment.host_of_block[split])
    distances = []
    for host in range(assignment.num_hosts):
        own = counts[hosts == host].sum(axis=0)
        distances.append(float(np.abs(own / own.sum() - total).sum() / 2))
    return distances


def block_rows(parts: Sequence[pa.Table], num_classes: int) -> pa.Table:
    """Returns rows of `BLOCK_SCHEMA` for files, from the index rows of each."""
    import xxhash

    rows = []
    for number, part in enumerate(parts):
        labels = part["label"].to_numpy()
        hasher = xxhash.xxh3_64(np.ascontiguousarray(part["checksum"].to_numpy()).data)
        hasher.update(np.ascontiguousarray(labels).data)
        rows.append(
            {
                "block": number,
                "num_examples": part.num_rows,
                "num_bytes": pc.sum(part["size"]).as_py(),
                "label_counts": np.bincount(labels, minlength=num_classes),
                "checksum": hasher.intdigest(),
            }
        )
    return pa.Table.from_pylist(rows, schema=BLOCK_SCHEMA)


def _amounts(blocks: pa.Table) -> Floats:
    """Returns bytes and labels of every file, `[files, 1 + classes]`, as fractions of the total."""
    columns = np.column_stack([blocks["num_bytes"].to_numpy(), _label_counts(blocks)])
    amounts: Floats = columns / np.maximum(columns.sum(axis=0), 1)
    return amounts


def _label_counts(blocks: pa.Table) -> Floats:
    return np.array(blocks["label_counts"].to_pylist(), dtype=np.float64)


def _names_for(files: RecordsDir, assignment: Assignment, host: int) -> list[str]:
    paths: list[Path] = [files.metadata, files.hosts]
    for split in SPLITS:
        paths += [files.blocks(split), files.host_index(split, host, assignment.num_hosts)]
        paths += [
            files.block(split, block)
            for block, owner in enumerate(assignment.host_of_block[split])
            if owner == host
        ]
    return [path.name for path in paths]


def _remove_old(files: RecordsDir) -> None:
    """Deletes the files written for another number of hosts."""
    files.hosts.unlink(missing_ok=True)
    for path in files.path.glob("host-*-of-*"):
        path.unlink()
