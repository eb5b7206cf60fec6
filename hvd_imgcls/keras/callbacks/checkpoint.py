"""Saves a `fit` of all ranks, and continues it exactly when the script is run again."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.config.running.checkpoint import Checkpoint as Section
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.failures import process_state
from hvd_imgcls.interruption import end_by_signal
from hvd_imgcls.keras.callbacks.checkpointing import requirements
from hvd_imgcls.keras.callbacks.checkpointing.data import FitData
from hvd_imgcls.keras.callbacks.checkpointing.epoch_start import EpochStart
from hvd_imgcls.keras.callbacks.checkpointing.position import DataPosition
from hvd_imgcls.keras.callbacks.checkpointing.saving import Destination, FitSaving, FitStoppedError
from hvd_imgcls.keras.callbacks.checkpointing.states import FitState, numbers_in, states_of_fit
from hvd_imgcls.keras.graph.building import build_for, is_built
from hvd_imgcls.keras.settling import is_settled, settle
from hvd_imgcls.keras.state.training_state import prepare_copies_of
from hvd_imgcls.plan.position import Position
from hvd_imgcls.stop_request import StopRequest

Logs = dict[str, Any]


class Checkpoint(keras.callbacks.Callback):
    """Saves the state of `fit` on all ranks, and continues from it when the script is run again.

    The state consists of weights, optimizer, moving statistics, states of random layers,
    metrics, and the other callbacks in the list. The root writes it; every file has a digest.
    Continued training is, bit for bit, that which was not interrupted, on the same number of
    ranks. SIGTERM, SIGINT, SIGUSR1 and SIGHUP save, and end the script with exit code 75.

    The data must begin at `position`, and be one dataset for all epochs:

        checkpoint = hvd.callbacks.Checkpoint("checkpoints", every_steps=100)
        data = checkpoint.dataset(dataset_of_epoch, steps_per_epoch)
        model.fit(data, steps_per_epoch=steps_per_epoch, epochs=..., callbacks=[..., checkpoint])

    Collective: every rank must have this callback, as the last one.

    Args:
        directory: Where the root writes. For one training, and one process at a time.
        every_steps: Updates between two checkpoints; None for none.
        every_minutes: Minutes between two checkpoints; None for none.
        every_epochs: Epochs between two checkpoints; None for none. The end is always saved.
        keep_last: Number of most recent checkpoints that are kept.
        fingerprint: Text that must be equal in the script that continues, such as a hash of its
            data and settings.

    Raises:
        ConfigError: If an argument is invalid.
    """

    # Every rank has this callback, so every rank is in `fit` if one is: see fit_start.py.
    starts_all_ranks = True

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        every_steps: int | None = None,
        every_minutes: float | None = 10.0,
        every_epochs: int | None = None,
        keep_last: int = 2,
        fingerprint: str | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("every_steps", every_steps), ("every_epochs", every_epochs)):
            requirements.require_positive(name, value, int)
        requirements.require_positive("every_minutes", every_minutes, int | float)
        requirements.require_positive("keep_last", keep_last, int, is_optional=False)
        self._section = Section(
            every_steps=every_steps,
            every_minutes=None if every_minutes is None else float(every_minutes),
            every_epochs=every_epochs,
            keep_last=keep_last,
        )
        self._path = Path(directory)
        self._data = FitData(self._path, fingerprint)
        self._has_begun = False
        self._stack = contextlib.ExitStack()

    @property
    def position(self) -> DataPosition:
        """The position at which the data of `fit` must begin, the same on all ranks.

        Collective, the first time: every rank must ask for it.

        Raises:
            ConfigError: If another process writes to the directory, or the fingerprint differs.
            CheckpointError: If there are checkpoints, but none is sound.
            RootFailedError: On the other ranks in these cases.
        """
        return self._data.position()

    def dataset(
        self,
        dataset_of_epoch: Callable[[tf.Tensor], tf.data.Dataset],
        steps_per_epoch: int,
        *,
        checks_order: bool = True,
    ) -> tf.data.Dataset:
        """Returns the data for `fit`: all batches from `position` on, without an end.

        Collective: every rank must call this.

        Args:
            dataset_of_epoch: Returns this rank's batches of an epoch, in an order that depends
                on nothing but the epoch: `lambda epoch: examples.shuffle(10_000,
                seed=epoch).batch(32)`. It is called with the epoch as a scalar int64 tensor.
            steps_per_epoch: Batches per epoch, as for `fit`; further ones are left out.
            checks_order: Whether the first batch of the first epoch is read twice and compared,
                also with that of the training that is continued.

        Raises:
            ConfigError: If `dataset_of_epoch` does not return a dataset, or the order depends on
                more than the epoch; otherwise as `position`.
        """
        return self._data.dataset(dataset_of_epoch, steps_per_epoch, checks_order=checks_order)

    def prepare(self, callback_list: Any) -> None:
        """Checks `fit`, before any callback begins. Collective; called by `fit_start`.

        Args:
            callback_list: The `CallbackList` of `fit`.

        Raises:
            ConfigError: If this `fit` could not be continued exactly.
        """
        if self._has_begun:
            raise ConfigError(
                "callbacks",
                got="a Checkpoint that was in an earlier fit",
                expected="one Checkpoint, with a directory of its own, for each fit",
                fix="create another one",
            )
        self._has_begun = True
        # Weak: after an error, the end of the list says that `fit` is over.
        self._callback_list = weakref.ref(callback_list)
        weakref.finalize(callback_list, self._leave)
        requirements.require_place(callback_list, self)
        model, callbacks = self.model, callback_list.callbacks
        requirements.refuse_local_variables(model, callbacks)
        declared = self._data.steps_per_epoch
        self._steps = requirements.require_steps(self.params, model, declared)
        self._position = Position(requirements.passes_per_update(model.optimizer))
        self._fit_state = FitState(model)
        self._states = states_of_fit(callbacks, self, self._fit_state, self._position)
        directory = self._data.directory
        self._epochs = int(self.params["epochs"])
        if directory.resumed is not None:
            self._is_stopped = bool(directory.resumed.states_by_rank[0]["fit"]["stops"])
            self._position.restore(directory.resumed.states_by_rank[0]["position"])
            requirements.require_used(is_used=self._data.is_position_used, path=self._path)
            facts, per_call = directory.resumed.facts, model.steps_per_execution
            requirements.require_same_steps(facts, self._steps, per_call)
            model._initial_epoch = self._epochs if self._is_stopped else self._data.position().epoch
        if not is_built(model):
            self._build()

    def begin(self) -> None:
        """Begins, after all callbacks have. Collective; called by `fit_start`."""
        collectives, directory = distributed.current(), self._data.directory
        stop = StopRequest(end_by_signal)
        self._stack.enter_context(stop.listening())
        self._stack.enter_context(stop.polled())
        destination = Destination(
            self._path, self._section, directory.facts(self._steps, self._data.first_batches)
        )
        self._saving = FitSaving(destination, self._states, collectives, self._position, stop)
        if not self._position.batch_in_epoch:
            self._restore()
        if collectives.topology.is_root and self.model.optimizer.built:
            prepare_copies_of(self.model)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Begins an epoch, or continues the one in which training was interrupted."""
        if epoch != self._position.epoch:
            raise ConfigError(
                "fit(initial_epoch)",
                got=epoch,
                expected=f"{self._position.epoch}: Checkpoint chooses the first epoch itself",
                fix="omit initial_epoch",
            )
        num_passed = self._position.batch_in_epoch // self.model.steps_per_execution
        EpochStart(self._callback_list(), num_passed, self._arrive)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Counts batches; saves and stops if due. Collective."""
        for _ in range(self.model.steps_per_execution):
            self._position.end_batch()
        is_last = self._position.batch_in_epoch == self._steps
        self._fit_state.logs = numbers_in(logs) if is_last else {}
        # After the batch with which a callback ends training, only the epoch can be ended.
        if not self.model.stop_training:
            with self._ending_if_stopped():
                self._saving.end_batches(is_settled=is_settled(self.model))

    def end_epoch(self, epoch: int) -> None:
        """Counts an epoch; saves and stops if due. Collective; called by `fit_start`.

        After all callbacks: the history that `fit` returns is behind this one.

        Args:
            epoch: The epoch, 0-based.

        Raises:
            FitStoppedError: On all ranks, if one was asked to stop.
        """
        self._position.end_epoch()
        self._fit_state.logs = {}
        settle(self.model)
        is_last = bool(self.model.stop_training) or epoch + 1 >= self._epochs
        with self._ending_if_stopped():
            self._saving.end_epoch(is_last=is_last)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Waits until everything is written. Collective."""
        process_state.is_resumable = self._saving.end()
        self._leave()

    def _build(self) -> None:
        """Builds the model, before the state is broadcast or restored."""
        if self._data.element_spec is None:
            raise ConfigError(
                "model",
                got=f"{self.model.name}, which has no variables yet",
                expected="a model that is built, so that its state can be restored",
                fix="declare keras.Input, call it once on a batch, or use checkpoint.dataset",
            )
        build_for(self.model, self._data.element_spec)

    def _arrive(self, iterator: Any) -> Logs:
        """Checks the data, and restores within an epoch. Collective.

        Returns:
            The logs of the batches that are done.
        """
        requirements.require_endless(iterator)
        directory = self._data.directory
        if directory.resumed is not None and self._position.batch_in_epoch:
            # Metrics are created in the first step, and must exist before they are restored.
            build_for(self.model, iterator.element_spec)
            self._restore()
            return dict(self._fit_state.logs) or dict(self.model.get_metrics_result())
        return {}

    def _restore(self) -> None:
        """Restores the state, once. Collective."""
        directory, topology = self._data.directory, distributed.current().topology
        if directory.resumed is not None:
            by_rank = directory.resumed.states_by_rank
            directory.resumed = None
            self._states.restore_on(by_rank, topology.rank, topology.size)

    @contextlib.contextmanager
    def _ending_if_stopped(self) -> Iterator[None]:
        """Context manager that receives no signals any more if `fit` is stopped by one."""
        try:
            yield
        except FitStoppedError as error:
            self._leave(error)
            raise

    def _leave(self, error: FitStoppedError | None = None) -> None:
        """Receives no signals any more, and leaves the model and the directory to others."""
        EpochStart.remove(self.model)
        self.model._initial_epoch = None
        # Python allows it in the main thread only.
        with contextlib.suppress(ValueError):
            self._stack.__exit__(None if error is None else type(error), error, None)
        self._data.release()


def checkpoint_in(callback_list: Any) -> Checkpoint | None:
    """Returns the `Checkpoint` among the callbacks of `fit`, if there is one.

    Args:
        callback_list: The `CallbackList` of `fit`.

    Raises:
        ConfigError: If there are several.
    """
    found = [one for one in callback_list.callbacks if isinstance(one, Checkpoint)]
    if len(found) > 1:
        raise ConfigError(
            "callbacks", got=f"{len(found)} Checkpoints", expected="one", fix="remove the others"
        )
    return found[0] if found else None
