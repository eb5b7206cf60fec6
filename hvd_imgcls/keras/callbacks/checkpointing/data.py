"""From where the data of a `fit` begin, and what is known about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.keras.callbacks.checkpointing import requirements
from hvd_imgcls.keras.callbacks.checkpointing.directory import CheckpointDirectory
from hvd_imgcls.keras.callbacks.checkpointing.position import (
    DataPosition,
    dataset_from,
    digests_of_first_batch,
)


class FitData:
    """The position in the data of a `fit`, and its dataset, if it is made here.

    Args:
        path: Directory of the checkpoints.
        fingerprint: What must be equal in the training that is continued.

    Attributes:
        is_position_used: Whether the script has asked for the position.
        element_spec: Of the dataset, nested `tf.TensorSpec`; None if it is the script's own.
        steps_per_epoch: Of the dataset; None if it is the script's own.
        first_batches: Digests of the first batch of every rank; empty if they are unknown.
    """

    def __init__(self, path: Path, fingerprint: str | None) -> None:
        self._path = path
        self._fingerprint = fingerprint
        self._directory: CheckpointDirectory | None = None
        self._start = DataPosition()
        self.is_position_used = False
        self.element_spec: Any = None
        self.steps_per_epoch: int | None = None
        self.first_batches: list[str] = []

    @property
    def directory(self) -> CheckpointDirectory:
        """The directory. Collective, the first time: every rank must ask for it."""
        return self._open()

    def position(self) -> DataPosition:
        """Returns where the data begin. Collective, the first time."""
        self.is_position_used = True
        self._open()
        return self._start

    def dataset(
        self,
        dataset_of_epoch: Callable[[tf.Tensor], tf.data.Dataset],
        steps_per_epoch: int,
        *,
        checks_order: bool,
    ) -> tf.data.Dataset:
        """Returns the batches from the position on. Collective: every rank must call this.

        Args:
            dataset_of_epoch: From the epoch, a scalar int64 tensor, to its batches.
            steps_per_epoch: Batches per epoch.
            checks_order: Whether the first batch of the first epoch is read twice and compared.

        Raises:
            ConfigError: If the order depends on more than the epoch.
        """
        requirements.require_positive("steps_per_epoch", steps_per_epoch, int, is_optional=False)
        try:
            data = dataset_from(self.position(), dataset_of_epoch, steps_per_epoch)
            if checks_order:
                self._check_order(dataset_of_epoch)
        except BaseException:
            self.release()
            self._directory = None
            raise
        self.element_spec, self.steps_per_epoch = data.element_spec, steps_per_epoch
        return data

    def release(self) -> None:
        """Lets other processes write to the directory."""
        if self._directory is not None:
            self._directory.release()

    def _open(self) -> CheckpointDirectory:
        if self._directory is None:
            collectives = distributed.current()
            self._directory = CheckpointDirectory(self._path, self._fingerprint, collectives)
            resumed = self._directory.resumed
            if resumed is not None:
                facts = resumed.facts
                self._start = DataPosition(facts["epoch"], facts["batch"], resumed.step)
        return self._directory

    def _check_order(self, dataset_of_epoch: Callable[[tf.Tensor], tf.data.Dataset]) -> None:
        resumed = self._open().resumed
        by_rank = distributed.current().gather_json(digests_of_first_batch(dataset_of_epoch))
        requirements.require_same_order(by_rank, None if resumed is None else resumed.facts)
        self.first_batches = [first for first, _ in by_rank]
