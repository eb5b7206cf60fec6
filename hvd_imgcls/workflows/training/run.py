"""One training run on one rank: the data shared by all its parts."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from hvd_imgcls import distributed
from hvd_imgcls.config import RunConfig
from hvd_imgcls.data import ImageSource
from hvd_imgcls.plan import Plan
from hvd_imgcls.run_directory.lock import RunLock
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.saving.newest_state import Resumed
from hvd_imgcls.state_registry import StateRegistry
from hvd_imgcls.workflows.progress import Record
from hvd_imgcls.workflows.progress.nodes import NodeMonitor
from hvd_imgcls.workflows.startup.images import RunImages
from hvd_imgcls.workflows.startup.ranks import Ranks
from hvd_imgcls.workflows.training.hang_limits import HangLimits
from hvd_imgcls.workflows.training.saving.checkpointing import Checkpointing

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run that has started.

    Attributes:
        config: The configuration.
        plan: The plan derived from it.
        images: The images of the run.
        ranks: The ranks of the run.
        files: The run directory.
        lock: Its lock, on the root.
        record: Results so far; updated.
        states: The state that the run keeps between steps.
        limits: Ends the run if this rank takes too long.
        monitor: Monitors hosts and ranks; None if the configuration turns it off.
        checkpointing: Saves the state; None if it is not to be saved.
        resumed: What the run is continued from; None for a new run.
    """

    config: RunConfig
    plan: Plan
    images: RunImages
    ranks: Ranks
    files: RunDir
    record: Record
    states: StateRegistry
    limits: HangLimits
    lock: RunLock | None = None
    monitor: NodeMonitor | None = None
    checkpointing: Checkpointing | None = None
    resumed: Resumed | None = None

    @property
    def source(self) -> ImageSource:
        """The images of supervised training, and the held-out images."""
        return self.images.labelled

    @property
    def collectives(self) -> distributed.Collectives:
        """Communication between the ranks."""
        return self.ranks.collectives

    @property
    def rank(self) -> int:
        """This rank."""
        return self.ranks.topology.rank

    @property
    def is_root(self) -> bool:
        """Whether this rank writes files."""
        return self.ranks.topology.is_root

    @contextlib.contextmanager
    def monitored(self) -> Iterator[None]:
        """Context manager in which the hosts are sampled, if configured."""
        with contextlib.nullcontext() if self.monitor is None else self.monitor.running():
            yield

    def show(self, activity: str) -> None:
        """Shows in `progress.json` what the run does besides training: a noun."""
        if self.monitor is not None:
            self.monitor.show(activity)

    def on_evaluated_block(self) -> None:
        """Stops the run if a rank was asked to, within an evaluation. Collective.

        Raises:
            StoppedError: On all ranks, if one was asked to stop.
        """
        self.limits.evaluate()
        if self.checkpointing is not None:
            self.checkpointing.evaluated()

    def resumed_in(self, phase: str) -> Resumed | None:
        """Returns what the run is continued from, if that is in this phase."""
        if self.resumed is None or f"{phase}.position" not in self.resumed.states_by_rank[0]:
            return None
        return self.resumed
