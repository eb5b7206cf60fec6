"""The directory of the checkpoints of a `fit`: held by one process, read by the root."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hvd_imgcls.distributed.agreement import on_root
from hvd_imgcls.distributed.collectives import Collectives
from hvd_imgcls.errors import CheckpointError, ConfigError
from hvd_imgcls.keras.checks import consistency
from hvd_imgcls.run_directory.lock import RunLock
from hvd_imgcls.saving.newest_state import Resumed, read_newest

logger = logging.getLogger(__name__)

WRITER = "hvd.callbacks.Checkpoint"


class CheckpointDirectory:
    """The directory of the checkpoints of one training, for one process at a time.

    Collective: every rank must create one. Only the root accesses files.

    Args:
        path: The directory; it need not exist.
        fingerprint: What must be equal in the training that is continued.
        collectives: Communication between the ranks.

    Attributes:
        path: The directory.
        resumed: The newest state; None if nothing was saved.

    Raises:
        ConfigError: If another process writes there, or the fingerprint differs.
        CheckpointError: If no checkpoint is sound, or another program wrote them.
        RootFailedError: On the other ranks in these cases.
    """

    def __init__(self, path: Path, fingerprint: str | None, collectives: Collectives) -> None:
        self.path = path
        self._fingerprint = fingerprint
        self._lock: RunLock | None = None
        on_root(collectives, self._take)
        self.resumed: Resumed | None = None
        try:
            self.resumed = read_newest(path, collectives, self._check)
        except BaseException:
            self.release()
            raise
        if self.resumed is not None and collectives.topology.is_root:
            _describe(self.resumed, path, collectives.topology.size)

    def facts(self, steps_per_epoch: int, first_batches: list[str]) -> dict[str, Any]:
        """Returns what the states of this training belong to, as JSON.

        Args:
            steps_per_epoch: Batches per epoch.
            first_batches: Digests of the first batch of every rank, if they are known.
        """
        return {
            "writer": WRITER,
            "versions": consistency.versions(),
            "steps_per_epoch": steps_per_epoch,
            "first_batches": first_batches,
            "fingerprint": self._fingerprint,
        }

    def release(self) -> None:
        """Lets other processes write there."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _take(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = RunLock(self.path, "Checkpoint(directory)", "choose another directory")
        except OSError as error:
            raise CheckpointError(
                f"{self.path}: cannot be created ({error.strerror or error}), expected a directory "
                "that can be written; choose another one"
            ) from error

    def _check(self, facts: Mapping[str, Any]) -> None:
        if facts.get("writer") != WRITER:
            raise CheckpointError(
                f"{self.path}: got checkpoints of another program, expected those of {WRITER}; "
                "choose another directory"
            )
        if facts.get("fingerprint") != self._fingerprint:
            raise ConfigError(
                "Checkpoint(fingerprint)",
                got=self._fingerprint,
                expected=f"{facts.get('fingerprint')!r}, that of the training saved in {self.path}",
                fix="continue with the same data and settings, or begin in another directory",
            )


def _describe(resumed: Resumed, path: Path, size: int) -> None:
    """Says on the root from where training continues, and what has changed since."""
    facts = resumed.facts
    logger.info(
        "continuing %s after step %s, epoch %s, batch %s, saved %s",
        path,
        f"{resumed.step:,}",
        facts["epoch"] + 1,
        facts["batch"],
        facts["saved"],
    )
    now = consistency.versions()
    changed = [
        f"{name} {then} then, {now.get(name)} now"
        for name, then in facts["versions"].items()
        if now.get(name) != then
    ]
    if changed:
        logger.warning("continuing %s with other versions: %s", path, ", ".join(changed))
    if facts["size"] != size:
        logger.warning(
            "continuing %s on another number of ranks, %s then, %s now: results are equal only up "
            "to rounding, and random layers draw other numbers",
            path,
            facts["size"],
            size,
        )
