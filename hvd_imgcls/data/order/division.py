"""The order of examples that are divided over hosts: who reads and sends what in an epoch.

Every global batch has an equal part for each host, filled with the host's own examples in
random order. A random fraction of all slots is then filled from all hosts: their examples are
permuted across hosts. All of it is a pure function of (seed, epoch) and of the division,
independent of the number of ranks, so that every rank knows what it will receive without
asking.

Partial exchange between epochs is from Nguyen et al. 2022, "Why globally re-shuffle?
Revisiting data shuffling in large scale deep learning" (IPDPS).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hvd_imgcls.data.order.epoch_order import Numbers, cut_or_padded
from hvd_imgcls.data.order.splits import Split
from hvd_imgcls.data.randomness.generators import generator_of
from hvd_imgcls.plan import HostShares

# Separate the random streams from other uses of the same seed.
_ORDER, _SLOTS, _EXCHANGE = 0x686F7374, 0x736C6F74, 0x65786368  # "host", "slot", "exch"


@dataclass(frozen=True, kw_only=True, slots=True)
class Division:
    """Which host stores which examples, and which rank reads for which host.

    Attributes:
        shares: Example numbers of every host, ascending, for each split.
        exchange: Fraction of every epoch's slots that are filled from all hosts.
        positions: For every rank, which of the equal parts of a batch it reads; the parts
            are in the order of the hosts. If empty, the rank number.
    """

    shares: Mapping[Split, Sequence[Numbers]]
    exchange: float
    positions: tuple[int, ...] = ()

    @property
    def num_hosts(self) -> int:
        """Number of hosts."""
        return len(self.shares["train"])

    def counts(self, block_size: int) -> HostShares:
        """Returns the counts that a plan needs.

        Args:
            block_size: Evaluation batch size of one rank.
        """
        return HostShares(
            num_train_examples=tuple(map(len, self.shares["train"])),
            num_held_out_blocks=tuple(
                len(_blocks(share, block_size)) for share in self.shares["held_out"]
            ),
            exchange=self.exchange,
        )

    def position_of(self, rank: int) -> int:
        """Returns which part of every batch a rank reads."""
        return self.positions[rank] if self.positions else rank

    def hosts_of(self, position: int, size: int) -> range:
        """Returns the hosts whose examples are in one of `size` parts of a batch."""
        if size >= self.num_hosts:
            host = position * self.num_hosts // size
            return range(host, host + 1)
        per_rank = self.num_hosts // size
        return range(position * per_rank, (position + 1) * per_rank)

    def examples_of(self, rank: int, size: int, split: Split) -> Numbers:
        """Returns the examples of a split whose images are on a rank's disk, ascending.

        Args:
            rank: The rank.
            size: Number of ranks.
            split: The split.
        """
        hosts = self.hosts_of(self.position_of(rank), size)
        return np.sort(np.concatenate([self.shares[split][host] for host in hosts]))

    def held_out_blocks(self, rank: int, block_size: int) -> Numbers:
        """Returns the evaluation blocks of a rank: those of its host, assigned round-robin."""
        position, size = self.position_of(rank), len(self.positions) or 1
        hosts = self.hosts_of(position, size)
        blocks = np.concatenate([_blocks(self.shares["held_out"][h], block_size) for h in hosts])
        per_host = max(1, size // self.num_hosts)
        return blocks[position % per_host :: per_host]

    def epoch_slots(
        self, seed: int, epoch: int, *, num_steps: int, global_batch_size: int
    ) -> Numbers:
        """Returns the example numbers of an epoch's global batches, -1 for padding.

        Returns:
            `[num_steps, global_batch_size]`, int64. The parts of the hosts are contiguous.
        """
        per_host = global_batch_size // self.num_hosts
        sequences = np.stack(
            [
                cut_or_padded(
                    generator_of(_ORDER, seed, epoch, host).permutation(share), num_steps * per_host
                )
                for host, share in enumerate(self.shares["train"])
            ]
        )
        self._exchange(sequences, seed, epoch)
        by_step = sequences.reshape(self.num_hosts, num_steps, per_host).transpose(1, 0, 2)
        return by_step.reshape(num_steps, global_batch_size)

    def _exchange(self, sequences: Numbers, seed: int, epoch: int) -> None:
        """Permutes the examples of randomly chosen slots, in-place."""
        if self.exchange == 0 or self.num_hosts == 1:
            return
        chosen = np.zeros(sequences.shape, dtype=bool)
        for host, sequence in enumerate(sequences):
            real = np.flatnonzero(sequence >= 0)
            generator = generator_of(_SLOTS, seed, epoch, host)
            chosen[host, generator.permutation(real)[: round(self.exchange * len(real))]] = True
        generator = generator_of(_EXCHANGE, seed, epoch, 0)
        sequences[chosen] = generator.permutation(sequences[chosen])

    def home_of(self) -> Numbers:
        """Returns the host that stores every training example, `[examples]`."""
        homes = np.empty(sum(map(len, self.shares["train"])), np.int64)
        for host, share in enumerate(self.shares["train"]):
            homes[share] = host
        return homes


def sender_positions(homes: Numbers, reader: int, *, num_hosts: int, size: int) -> Numbers:
    """Returns the position of the rank that reads each example from its disk.

    For examples of the reader's own host this is the reader itself; for others, the rank with
    the same place on the example's host.

    Args:
        homes: Host of every example, any shape.
        reader: Position of the rank that needs them.
        num_hosts: Number of hosts.
        size: Number of ranks.
    """
    if size >= num_hosts:
        per_host = size // num_hosts
        return homes * per_host + reader % per_host
    return homes // (num_hosts // size)


def _blocks(share: Numbers, block_size: int) -> Numbers:
    """Returns the numbers of the evaluation blocks that hold a host's examples."""
    return np.unique(share // block_size)
