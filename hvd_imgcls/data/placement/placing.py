"""Applies `data.placement`: assigns ranks to hosts, and completes the labels."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.data.placement import Hybrid, Vertical
from hvd_imgcls.data.order.division import Division
from hvd_imgcls.data.order.splits import SPLITS
from hvd_imgcls.data.placement.label_table import Relabelled, with_labels_of_table
from hvd_imgcls.data.sources.base import EncodedSource, ImageSource
from hvd_imgcls.data.sources.records.host_records import HostRecords
from hvd_imgcls.distributed import Collectives
from hvd_imgcls.errors import BadImagesError


def place(source: ImageSource, config: RunConfig, collectives: Collectives) -> ImageSource:
    """Returns the images with all ranks assigned to hosts and all labels known.

    Collective: every rank must call this.

    Args:
        source: The images on this host.
        config: Defines the placement.
        collectives: Communication between the ranks.

    Raises:
        BadImagesError: On all ranks, if files of a host are missing.
        ConfigError: If the ranks cannot be divided over the hosts, or the table does not fit.
    """
    placement = config.data.placement
    if isinstance(source, HostRecords):
        source.require_whole_blocks(config.evaluation.block_size)
        _divide_ranks(source, config, collectives)
    labelled = source
    if isinstance(placement, Vertical | Hybrid) and isinstance(source, EncodedSource):
        labelled = with_labels_of_table(source, placement, collectives)
    if isinstance(labelled, HostRecords | Relabelled) and labelled.division is not None:
        _complete_labels(labelled, labelled.division, collectives)
    return labelled


def _complete_labels(
    source: HostRecords | Relabelled, division: Division, collectives: Collectives
) -> None:
    """Sends the labels of all hosts' examples to every rank. Collective."""
    rank, size = collectives.topology.rank, collectives.topology.size
    position = division.position_of(rank)
    for split in SPLITS:
        labels = np.zeros(source.num_examples(split), np.int64)
        # One rank per host, so that labels are added only once.
        if position % max(1, size // division.num_hosts) == 0:
            for host in division.hosts_of(position, size):
                share = division.shares[split][host]
                labels[share] = source.labels(split)[share]
        source.complete_labels(split, collectives.sum_arrays(f"labels.{split}", labels))


def _divide_ranks(source: HostRecords, config: RunConfig, collectives: Collectives) -> None:
    """Assigns every rank a part of each batch whose images are on its disk. Collective."""
    size, num_hosts = collectives.topology.size, source.division.num_hosts
    source.division.counts(config.evaluation.block_size).require_ranks(
        size, config.train.global_batch_size
    )
    here = collectives.gather_json(
        {
            "hosts": source.hosts_here,
            "problems": {str(host): text for host, text in source.problems.items()},
        }
    )
    hosts_here = [tuple(entry["hosts"]) for entry in here]
    positions = assign_positions(hosts_here, num_hosts)
    if positions is None:
        raise BadImagesError(_what_is_missing(hosts_here, [e["problems"] for e in here], num_hosts))
    source.division = dataclasses.replace(source.division, positions=positions)


def assign_positions(hosts_here: Sequence[Sequence[int]], num_hosts: int) -> tuple[int, ...] | None:
    """Returns which part of every batch each rank reads, or None if impossible.

    Args:
        hosts_here: For every rank, the hosts whose files it can read.
        num_hosts: Number of hosts; a divisor or a multiple of the number of ranks.

    Returns:
        A permutation of the rank numbers. Ranks that can read the fewest hosts are assigned first.
    """
    size = len(hosts_here)
    if size < num_hosts:
        per_rank = num_hosts // size
        wanted = [set(range(rank * per_rank, (rank + 1) * per_rank)) for rank in range(size)]
        possible = all(w <= set(h) for w, h in zip(wanted, hosts_here, strict=True))
        return tuple(range(size)) if possible else None
    per_host = size // num_hosts
    taken: Counter[int] = Counter()
    positions = [-1] * size
    for rank in sorted(range(size), key=lambda rank: (len(hosts_here[rank]), rank)):
        free = [host for host in hosts_here[rank] if taken[host] < per_host]
        if not free:
            return None
        positions[rank] = free[0] * per_host + taken[free[0]]
        taken[free[0]] += 1
    return tuple(positions)


def _what_is_missing(
    hosts_here: Sequence[Sequence[int]], problems: Sequence[dict[str, str]], num_hosts: int
) -> str:
    """Describes the missing files of each rank."""
    size = len(hosts_here)
    lines = [f"the images are divided over {num_hosts} hosts, but some files are missing:"]
    per_host = max(1, size // num_hosts)
    for rank, hosts in enumerate(hosts_here):
        if hosts:
            lines.append(f"rank {rank} has all files of host {', '.join(map(str, hosts))}")
        else:
            # The host of this rank if ranks are numbered host by host.
            likely = min(rank // per_host, num_hosts - 1)
            lines.append(f"rank {rank} has no host's complete files; {problems[rank][str(likely)]}")
    needed = f"{per_host} rank{'s' if per_host > 1 else ''}"
    lines.append(
        f"to fix it: copy to each host the files in its host-...-files.txt; a host needs {needed}"
        + ("" if size >= num_hosts else f", or each rank the files of {num_hosts // size} hosts")
    )
    return "\n  ".join(lines)
