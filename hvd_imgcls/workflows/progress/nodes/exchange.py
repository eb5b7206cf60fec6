"""What the ranks tell each other about their use of time, cores and memory, and of their hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from hvd_imgcls.distributed import Collectives
from hvd_imgcls.environment.host.process import ProcessUsage
from hvd_imgcls.environment.host.usage import ROW_LENGTH, UNKNOWN, HostUsage, combine
from hvd_imgcls.workflows.progress.waiting import Floats, Times, in_bins, times_of

_NUM_OF_RANK = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """What a rank has measured in training since the last exchange.

    Attributes:
        seconds: Time that it covers.
        data_seconds: Time in which the rank waited for its next batch.
        reductions: Time of each reduction of gradients, `[reductions]`; the same number on all
            ranks.
    """

    seconds: float
    data_seconds: float
    reductions: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Use of all ranks and hosts over some time. NaN: unknown.

    Attributes:
        times: Training and waiting.
        seconds: Time that the use of cores covers by rank, `[size]`.
        cpu_seconds: Time of cores by rank, `[size]`.
        memory_bytes: Highest resident memory by rank, `[size]`.
        hosts: By host.
    """

    times: Times
    seconds: Floats
    cpu_seconds: Floats
    memory_bytes: Floats
    hosts: tuple[HostUsage, ...]

    @property
    def size(self) -> int:
        """Number of ranks."""
        return len(self.seconds)

    @property
    def cores(self) -> Floats:
        """Mean number of cores that a rank has used, `[size]`."""
        return np.where(self.seconds > 0, self.cpu_seconds / np.maximum(self.seconds, 1e-9), np.nan)


def gather_usage(
    collectives: Collectives,
    interval: Interval,
    process: ProcessUsage,
    host: HostUsage | None,
    samplers: Sequence[int],
) -> Usage:
    """Returns the use of all ranks and hosts. Collective: every rank must call this.

    One small allgather.

    Args:
        collectives: Communication between the ranks.
        interval: What this rank has measured.
        process: Its use of cores and memory.
        host: The use of its host, on the rank that samples it.
        samplers: The rank that samples each host, by host.
    """
    own = np.concatenate(
        [
            [process.seconds, process.cpu_seconds, process.memory_bytes],
            np.full(ROW_LENGTH, UNKNOWN) if host is None else host.to_row(),
            [interval.seconds, interval.data_seconds],
            in_bins(interval.reductions),
        ]
    )
    rows = collectives.allgather(tf.convert_to_tensor(own[np.newaxis]), name="progress.usage")
    return usage_of(np.asarray(rows), samplers)


def usage_of(rows: Floats, samplers: Sequence[int]) -> Usage:
    """Returns the use of all ranks and hosts.

    Args:
        rows: For every rank its seconds, its seconds of cores, its memory, the use of its host,
            and what `times_of` expects, `[size, 5 + ROW_LENGTH + reductions]`.
        samplers: The rank that samples each host, by host.
    """
    last = _NUM_OF_RANK + ROW_LENGTH
    return Usage(
        times=times_of(rows[:, last:]),
        seconds=rows[:, 0],
        cpu_seconds=rows[:, 1],
        memory_bytes=rows[:, 2],
        hosts=tuple(
            HostUsage.from_row(rows[rank, _NUM_OF_RANK:last].tolist()) for rank in samplers
        ),
    )


def combine_usages(usages: Sequence[Usage]) -> Usage:
    """Returns the use over several times, at least one, of the same ranks."""
    times = usages[0].times
    for usage in usages[1:]:
        times = times + usage.times
    return Usage(
        times=times,
        seconds=np.sum([usage.seconds for usage in usages], axis=0),
        cpu_seconds=np.sum([usage.cpu_seconds for usage in usages], axis=0),
        memory_bytes=np.fmax.reduce([usage.memory_bytes for usage in usages], axis=0),
        hosts=tuple(map(combine, zip(*(usage.hosts for usage in usages), strict=True))),
    )
