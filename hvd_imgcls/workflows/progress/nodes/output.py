"""Writes the use of hosts and ranks: files of the run directory, TensorBoard, Prometheus."""

from __future__ import annotations

import datetime
import functools
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hvd_imgcls.files.background_files import BackgroundFiles
from hvd_imgcls.files.json_files import JsonLines, to_json
from hvd_imgcls.workflows.progress.lines import TrainingStatus
from hvd_imgcls.workflows.progress.nodes.exchange import Usage, combine_usages
from hvd_imgcls.workflows.progress.nodes.hosts import Host
from hvd_imgcls.workflows.progress.nodes.prometheus import prometheus_text
from hvd_imgcls.workflows.progress.nodes.values import (
    curves_of_hosts,
    host_values,
    rank_values,
    training_values,
)
from hvd_imgcls.workflows.progress.record import Record

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 10.0
"""Time that a line of `nodes.jsonl` covers, at least, within an epoch."""

WINDOW_OF_RUN = 1 / 1000
"""The same as a fraction of the time of the run: a week has about 5,000 lines for each host."""

_LEAST_SECONDS = 1.0
_RECENT_SECONDS = 12.0


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeFiles:
    """Where the use of hosts and ranks is written.

    Attributes:
        nodes: One line of JSON per host and window.
        progress: What the run does now, JSON.
        prometheus: The same for Prometheus, or None.
    """

    nodes: Path
    progress: Path
    prometheus: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Moment:
    """What a run does at one moment.

    Attributes:
        activity: A noun.
        status: Progress of the phase; None before the first step.
        recent: Use in the last few seconds, in order.
    """

    activity: str
    status: TrainingStatus | None = None
    recent: tuple[Usage, ...] = ()


class NodeOutput:
    """The outputs of the root. Failures are logged, and do not end training.

    Args:
        run: Name of the run.
        hosts: Its hosts.
        files: Where to.
        record: Results of the run: its TensorBoard and its clock.
    """

    def __init__(self, run: str, hosts: Sequence[Host], files: NodeFiles, record: Record) -> None:
        self._run = run
        self._hosts = hosts
        self._lines = JsonLines(files.nodes)
        self._files = files
        self._background = BackgroundFiles()
        self._record = record
        self._clock: Callable[[], float] = record.clock
        self._began = self._clock()
        # Of the window that is not yet written, and of the last few seconds.
        self._window: list[Usage] = []
        self._recent: deque[tuple[float, Usage]] = deque()
        self._position: dict[str, Any] = {}
        self._moment = _Moment(activity="starting")
        self._has_failed = False
        self._show(is_running=True)

    def add(self, usage: Usage, status: TrainingStatus, phase: str, *, ends_epoch: bool) -> None:
        """Shows what the run does, and writes a window if it is complete.

        Args:
            usage: Use since the last call.
            status: Progress of the phase.
            phase: `training` or `pre-training`.
            ends_epoch: Whether an epoch has ended.
        """
        now = self._clock()
        self._window.append(usage)
        self._recent.append((now, usage))
        while len(self._recent) > 1 and now - self._recent[0][0] > _RECENT_SECONDS:
            self._recent.popleft()
        self._position = {"phase": phase, "epoch": status.epoch, "step": status.step}
        recent = tuple(one for _, one in self._recent)
        # A copy, since Keras and callbacks add to them.
        status = replace(status, logs=dict(status.logs))
        self._moment = _Moment(activity=phase, status=status, recent=recent)
        self._show(is_running=True)
        elapsed = now - self._began
        if elapsed >= self._window_seconds() or (ends_epoch and elapsed >= _LEAST_SECONDS):
            self.flush()

    def show(self, activity: str) -> None:
        """Shows what the run does besides training.

        Args:
            activity: What it does, a noun.
        """
        self._moment = replace(self._moment, activity=activity)
        self._show(is_running=True)

    def flush(self) -> None:
        """Writes the window so far, unless nothing was measured."""
        usages, self._window, self._began = self._window, [], self._clock()
        usage = combine_usages(usages) if usages else None
        if usage is None or not any(host.seconds for host in usage.hosts):
            self._window = usages
            return
        moment = {"time": _now().isoformat(timespec="seconds"), **self._position}
        lines = [
            {**moment, **host_values(*self._host(index), usage)}
            for index in range(len(self._hosts))
        ]
        self._append(lines)
        if self._record.board is not None:
            prefix = "" if self._position["phase"] == "training" else "pre-training "
            self._record.board.write_numbers(
                f"{prefix}nodes", curves_of_hosts(lines), self._position["step"]
            )

    def close(self) -> None:
        """Writes that the run has ended."""
        self._show(is_running=False)
        self._background.close()

    def _host(self, index: int) -> tuple[Host, int]:
        return self._hosts[index], index

    def _window_seconds(self) -> float:
        return max(WINDOW_SECONDS, self._record.seconds * WINDOW_OF_RUN)

    def _show(self, *, is_running: bool) -> None:
        self._background.write(functools.partial(self._texts, self._moment, is_running))

    def _texts(self, moment: _Moment, is_running: bool) -> Mapping[Path, str]:
        """Returns the texts of the files, in their thread."""
        now = _now()
        shown = {"time": now.isoformat(timespec="seconds"), **self._values(moment)}
        texts = {self._files.progress: to_json(shown) + "\n"}
        if self._files.prometheus is not None:
            texts[self._files.prometheus] = prometheus_text(
                self._run, shown, time=now.timestamp(), is_running=is_running
            )
        return texts

    def _values(self, moment: _Moment) -> dict[str, Any]:
        if moment.status is None:
            return {"activity": moment.activity}
        recent = combine_usages(moment.recent)
        return {
            "activity": moment.activity,
            **training_values(moment.status),
            "slowest_rank": recent.times.slowest_rank if recent.size > 1 else None,
            "ranks": rank_values(self._hosts, recent, moment.status.parts),
            "hosts": [host_values(*self._host(i), recent) for i in range(len(self._hosts))],
        }

    def _append(self, lines: Sequence[dict[str, Any]]) -> None:
        for line in lines:
            error = self._lines.append(line)
            if error is not None and not self._has_failed:
                self._has_failed = True
                logger.warning("the use of the hosts could not be written: %s", error)


def _now() -> datetime.datetime:
    # The clock of a run counts from any moment.
    return datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
