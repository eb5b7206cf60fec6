"""Exchanges the use of all hosts and ranks every few seconds, at the end of a step."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hvd_imgcls.config import RunConfig
from hvd_imgcls.distributed import Collectives, agreement
from hvd_imgcls.distributed.polling import Polling
from hvd_imgcls.environment.host import HostSampler, ProcessUsageClock
from hvd_imgcls.environment.record import host_name
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.files.atomic import require_writable
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.workflows.progress.lines import TrainingStatus
from hvd_imgcls.workflows.progress.nodes.exchange import Interval, gather_usage
from hvd_imgcls.workflows.progress.nodes.hosts import Host, group_hosts
from hvd_imgcls.workflows.progress.nodes.output import NodeFiles, NodeOutput
from hvd_imgcls.workflows.progress.record import Record

EXCHANGE_SECONDS = 3.0
"""Time between two exchanges."""


class NodeMonitor:
    """Samples the hosts, and gathers their use and that of the ranks on the root.

    The ranks exchange a few hundred numbers about every three seconds, after the same number of
    steps, which follows the speed of the root.

    Args:
        collectives: Communication between the ranks.
        hosts: The hosts of the run.
        output: What the root writes; None on other ranks.
        clock: Returns seconds since an arbitrary moment.
    """

    def __init__(
        self,
        collectives: Collectives,
        hosts: list[Host],
        output: NodeOutput | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collectives = collectives
        self._output = output
        self._clock = clock
        self._samplers = [host.ranks[0] for host in hosts]
        is_sampler = collectives.topology.rank in self._samplers
        self._sampler = HostSampler() if is_sampler else None
        self._process = ProcessUsageClock()
        self._polling = Polling(collectives, "progress.poll", seconds=EXCHANGE_SECONDS)
        self._last = clock()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Context manager in which the host is sampled and the run counts as running."""
        with contextlib.ExitStack() as stack:
            if self._output is not None:
                stack.callback(self._output.close)
            if self._sampler is not None:
                stack.enter_context(self._sampler.running())
            yield

    def is_due(self) -> bool:
        """Counts a step; returns whether an exchange is due, the same on all ranks.

        Collective: every rank must call this.
        """
        asked = self._polling.tick(self._wish)
        return asked is not None and bool(asked[0])

    def exchange(
        self, interval: Interval, status: TrainingStatus, phase: str, *, ends_epoch: bool = False
    ) -> None:
        """Gathers the use of all hosts and ranks; the root shows and writes it.

        Collective: every rank must call this.

        Args:
            interval: What this rank has measured since the last exchange.
            status: Progress of the phase.
            phase: `training` or `pre-training`.
            ends_epoch: Whether an epoch has ended.
        """
        usage = gather_usage(
            self._collectives,
            interval,
            self._process.take(),
            None if self._sampler is None else self._sampler.take(),
            self._samplers,
        )
        self._last = self._clock()
        if self._output is not None:
            self._output.add(usage, status, phase, ends_epoch=ends_epoch)

    def show(self, activity: str) -> None:
        """Shows what the run does besides training: a noun."""
        if self._output is not None:
            self._output.show(activity)

    def flush(self) -> None:
        """Writes what was measured since the last window."""
        if self._output is not None:
            self._output.flush()

    def _wish(self) -> tuple[int]:
        # The number of steps in between is an estimate.
        elapsed = self._clock() - self._last
        return (int(self._collectives.topology.is_root and elapsed >= EXCHANGE_SECONDS / 2),)


def start_monitor(
    config: RunConfig, files: RunDir, record: Record, collectives: Collectives
) -> NodeMonitor | None:
    """Returns what monitors a run; None if the configuration turns it off.

    Collective: every rank must call this.

    Args:
        config: The configuration.
        files: The run directory.
        record: Results of the run.
        collectives: Communication between the ranks.

    Raises:
        ConfigError: On all ranks, if the root cannot write the file for Prometheus.
    """
    if not config.logging.nodes:
        return None
    path = config.logging.prometheus_file
    prometheus = None if path is None else Path(path)
    if prometheus is not None:
        agreement.on_root(collectives, functools.partial(_require_writable, prometheus))
    topology = collectives.topology
    places = collectives.gather_json([host_name(), topology.local_rank])
    hosts = group_hosts([name for name, _ in places], [local_rank for _, local_rank in places])
    output = None
    if topology.is_root:
        written = NodeFiles(nodes=files.nodes, progress=files.progress, prometheus=prometheus)
        output = NodeOutput(files.path.resolve().name, hosts, written, record)
    return NodeMonitor(collectives, hosts, output)


def _require_writable(path: Path) -> None:
    try:
        require_writable(path)
    except OSError as error:
        raise ConfigError(
            "logging.prometheus_file",
            got=f"{path} ({error.strerror or error})",
            expected="a file in a directory that rank 0 can write to",
            fix="create the directory, or choose another one",
        ) from error
