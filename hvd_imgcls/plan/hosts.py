"""Examples divided over hosts: how many each host has, in plain numbers."""

from __future__ import annotations

from dataclasses import dataclass

from hvd_imgcls.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class HostShares:
    """The number of examples that every host stores on its own disk.

    Attributes:
        num_train_examples: Training examples of every host.
        num_held_out_blocks: Number of held-out blocks that every host evaluates.
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
        """Distance of the order from a global shuffle, 0 to 1.

        Total variation distance, for any one example, between the host whose slot it fills
        and a uniformly drawn host: 0 is a global shuffle, `1 - 1 / num_hosts` no exchange at all.
        """
        return (1 - self.exchange) * (1 - 1 / self.num_hosts)

    def require_ranks(self, size: int, global_batch_size: int) -> None:
        """Checks that ranks and batch can be divided evenly over the hosts.

        Raises:
            ConfigError: If they cannot; the fix names numbers that can.
        """
        if size % self.num_hosts and self.num_hosts % size:
            raise ConfigError(
                "data.placement",
                got=f"{size} ranks for images that are divided over {self.num_hosts} hosts",
                expected="the same number of ranks on every host",
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
        """Returns the number of blocks per rank: that of the rank with the most blocks."""
        if size >= self.num_hosts:
            return max(-(-blocks * self.num_hosts // size) for blocks in self.num_held_out_blocks)
        per_rank = self.num_hosts // size
        return max(
            sum(self.num_held_out_blocks[first : first + per_rank])
            for first in range(0, self.num_hosts, per_rank)
        )
