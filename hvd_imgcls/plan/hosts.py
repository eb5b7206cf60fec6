"""Examples that are divided over hosts: how many each has. Plain numbers."""

from __future__ import annotations

from dataclasses import dataclass

from hvd_imgcls.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class HostShares:
    """How many examples every host has on its own disk.

    Attributes:
        num_train_examples: Training examples of every host.
        num_held_out_blocks: Blocks of held-out examples that every host evaluates.
        exchange: Fraction of every epoch's slots that are filled from all hosts.
    """

    num_train_examples: tuple[int, ...]
    num_held_out_blocks: tuple[int, ...]
    exchange: float

    @property
    def num_hosts(self) -> int:
        """Number of hosts."""
        return len(self.num_train_examples)

    @property
    def distance_from_global_shuffle(self) -> float:
        """How far the order is from one over all examples, 0 to 1.

        Total variation distance, for any one example, between the host whose slot it fills
        and a host drawn evenly: 0 is a global shuffle, `1 - 1 / num_hosts` is none at all.
        """
        return (1 - self.exchange) * (1 - 1 / self.num_hosts)

    def require_ranks(self, size: int, global_batch_size: int) -> None:
        """Raises unless the ranks and the batch can be divided over the hosts' shares.

        Raises:
            ConfigError: Naming numbers that go.
        """
        if size % self.num_hosts and self.num_hosts % size:
            raise ConfigError(
                "data.placement",
                got=f"{size} ranks for images that are divided over {self.num_hosts} hosts",
                expected="equally many ranks for every host",
                fix=f"start {self.num_hosts * max(1, round(size / self.num_hosts))} ranks, or "
                "divide the images again with `hvd-imgcls prepare ... --hosts N`",
            )
        if global_batch_size % self.num_hosts:
            raise ConfigError(
                "train.global_batch_size",
                got=global_batch_size,
                expected=f"a multiple of the {self.num_hosts} hosts that the images are divided "
                "over",
                fix=f"use {-(-global_batch_size // self.num_hosts) * self.num_hosts}",
            )

    def evaluation_steps(self, size: int) -> int:
        """Returns the blocks that every rank evaluates: as many as the busiest one has."""
        if size >= self.num_hosts:
            return max(-(-blocks * self.num_hosts // size) for blocks in self.num_held_out_blocks)
        per_rank = self.num_hosts // size
        return max(
            sum(self.num_held_out_blocks[first : first + per_rank])
            for first in range(0, self.num_hosts, per_rank)
        )
