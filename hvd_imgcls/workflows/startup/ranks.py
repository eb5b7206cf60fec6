"""Joins the run: rank, log, cores and GPU."""

from __future__ import annotations

from dataclasses import dataclass

from hvd_imgcls import distributed, logs
from hvd_imgcls.distributed.single_process import SingleProcessCollectives
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.plan import Threads


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """The ranks of a run, from the perspective of this one.

    Attributes:
        collectives: Communication between the ranks.
        threads: Thread counts of this rank.
    """

    collectives: distributed.Collectives
    threads: Threads

    @property
    def topology(self) -> Topology:
        """Rank and size."""
        return self.collectives.topology


def join_ranks(verbosity: logs.Verbosity, *, adds_process_sets: bool = False) -> Ranks:
    """Joins the run, starts logging and assigns cores and a GPU to this rank.

    Collective: every rank must call this, before its first operation of TensorFlow.

    Args:
        verbosity: How much is logged.
        adds_process_sets: Whether process sets will be added.

    Raises:
        SetupError: If several ranks were launched and Horovod is missing or sees fewer.
    """
    collectives = distributed.start("dynamic" if adds_process_sets else None)
    logs.start(collectives.topology, verbosity=verbosity)
    threads = distributed.devices.take_share(collectives)
    return Ranks(collectives=collectives, threads=threads)


def use_single_process(verbosity: logs.Verbosity) -> Ranks:
    """Starts logging and uses all cores, ignoring other launched ranks: for the root only.

    Not collective.

    Args:
        verbosity: How much is logged.
    """
    collectives = SingleProcessCollectives()
    logs.start(collectives.topology, verbosity=verbosity)
    threads = distributed.devices.take_share(collectives)
    return Ranks(collectives=collectives, threads=threads)
