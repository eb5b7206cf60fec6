"""What the ranks compare when `fit` begins: versions, steps, and each other's callbacks.

A callback does not see the others in its list, so Keras's `CallbackList` is extended, once. Without
several ranks, or without a distributed optimizer or a broadcast callback, it behaves as before.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import keras

from hvd_imgcls import distributed
from hvd_imgcls.distributed import global_process_set
from hvd_imgcls.distributed.agreement import describe_differences, find_differences, name_ranks
from hvd_imgcls.errors import ConfigError, RankMismatchError
from hvd_imgcls.keras.callbacks import backups
from hvd_imgcls.keras.callbacks.batch_agreement import BatchAgreement
from hvd_imgcls.keras.callbacks.checkpoint import checkpoint_in
from hvd_imgcls.keras.callbacks.eligibility import knows_of_ranks
from hvd_imgcls.keras.callbacks.validation_agreement import (
    ValidationAgreement,
    communicates_in_validation,
)
from hvd_imgcls.keras.checks import consistency
from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

logger = logging.getLogger(__name__)

# Callbacks that write, and the attribute that says where.
_WRITERS = (
    (keras.callbacks.ModelCheckpoint, "filepath"),
    (keras.callbacks.CSVLogger, "filename"),
    (keras.callbacks.BackupAndRestore, "backup_dir"),
    (keras.callbacks.TensorBoard, "log_dir"),
)
_warned: set[str] = set()
_FIX = (
    "use the same number of batches on every rank, e.g. with steps_per_epoch, pass the same "
    "callbacks of hvd.callbacks on every rank, and start every rank with the same program and "
    "packages"
)


def install() -> None:
    """Extends `keras.callbacks.CallbackList`; a second call does nothing."""
    list_class: Any = keras.callbacks.CallbackList
    if getattr(list_class.on_train_begin, "compares_ranks", False):
        return
    plain_begin, plain_end = list_class.on_train_begin, list_class.on_train_end
    _compare_validation(list_class)

    def on_train_begin(self: Any, logs: dict[str, Any] | None = None) -> None:
        must_agree = _begin(self)
        checkpoint = checkpoint_in(self)
        if checkpoint is not None:
            checkpoint.prepare(self)
        plain_begin(self, logs)
        if must_agree:
            backups.require_same_first_epoch(self.model)
        if checkpoint is not None:
            checkpoint.begin()

    def on_train_end(self: Any, logs: dict[str, Any] | None = None) -> None:
        plain_end(self, logs)
        BatchAgreement.stop(self.model)

    on_train_begin.compares_ranks = True  # type: ignore[attr-defined]
    list_class.on_train_begin, list_class.on_train_end = on_train_begin, on_train_end


def _compare_validation(list_class: Any) -> None:
    """Extends the hooks of a `CallbackList` that show whether `fit` validates in an epoch."""
    plain_begin, plain_test = list_class.on_epoch_begin, list_class.on_test_begin
    plain_end = list_class.on_epoch_end

    def on_epoch_begin(self: Any, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if (agreement := _agreement_of(self)) is not None:
            agreement.begin_epoch(epoch)
        plain_begin(self, epoch, logs)

    def on_test_begin(self: Any, logs: dict[str, Any] | None = None) -> None:
        if (agreement := _agreement_of(self)) is not None:
            agreement.compare(validates=True)
        plain_test(self, logs)

    def on_epoch_end(self: Any, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if (agreement := _agreement_of(self)) is not None:
            agreement.compare(validates=False)
        plain_end(self, epoch, logs)
        if (checkpoint := checkpoint_in(self)) is not None:
            checkpoint.end_epoch(epoch)

    list_class.on_epoch_begin, list_class.on_epoch_end = on_epoch_begin, on_epoch_end
    list_class.on_test_begin = on_test_begin


def _agreement_of(callbacks: Any) -> ValidationAgreement | None:
    """Returns what `_begin` has added to the callbacks of a `fit` of several ranks, if any."""
    agreement: ValidationAgreement | None = getattr(callbacks, "validation_agreement", None)
    return agreement


def _begin(callbacks: Any) -> bool:
    """Compares the ranks, warns of files that several ranks write. Collective if it applies.

    Returns:
        Whether every rank restores a backup of its own, so that first epochs must be compared.

    Raises:
        RankMismatchError: On all ranks, with the differences.
        ConfigError: On all ranks, if the optimizer and step of the model are Keras's own, which
            do not communicate, or if only some of them restore a backup.
    """
    model = callbacks.model
    if not distributed.is_started() or distributed.current().topology.size == 1 or model is None:
        return False
    BatchAgreement.stop(model)  # of a fit that was interrupted
    if not _is_of_all_ranks(model, callbacks.callbacks):
        return False
    ranks = distributed.current()
    params = callbacks.params or {}
    facts = {
        "version": consistency.versions(),
        "fit": {key: params.get(key) for key in ("epochs", "steps")},
        "steps_per_execution": model.steps_per_execution,
        "callbacks": [
            type(callback).__name__
            for callback in callbacks.callbacks
            if knows_of_ranks(callback) and not isinstance(callback, keras.callbacks.History)
        ],
    }
    trains_alone = _trains_alone(model)
    facts["optimizer"] = "plain" if trains_alone else "distributed"
    own = [facts, _files_of(callbacks.callbacks), backups.any_restores(callbacks.callbacks)]
    by_rank = ranks.gather_json(own)
    differences = find_differences([facts for facts, _, _ in by_rank], range(len(by_rank)))
    if differences:
        raise RankMismatchError(describe_differences(differences, _FIX))
    if trains_alone:
        raise ConfigError(
            "model.optimizer",
            got=f"a plain {type(model.optimizer).__name__}",
            expected="an optimizer that reduces gradients: every rank would train on its own",
            fix="wrap the optimizer with hvd.DistributedOptimizer; a model that was copied, "
            "pickled or loaded with keras.models.load_model has lost it, hvd.load_model keeps it",
        )
    restores = [restore for _, _, restore in by_rank]
    backups.require_on_all_or_none(restores)
    if ranks.topology.is_root:
        _warn_of_shared_files([files for _, files, _ in by_rank])
    if params.get("steps") is None:
        BatchAgreement.start(model)
    if communicates_in_validation(callbacks.callbacks):
        callbacks.validation_agreement = ValidationAgreement()
    return any(restores)


def _is_of_all_ranks(model: keras.Model, callbacks: list[Any]) -> bool:
    """Whether every rank is in this `fit`."""
    if any(getattr(callback, "starts_all_ranks", False) for callback in callbacks):
        return True
    synchronizer = synchronizer_of(getattr(model, "optimizer", None))
    return (
        synchronizer is not None
        and synchronizer.settings.reduction.process_set is global_process_set
    )


def _trains_alone(model: keras.Model) -> bool:
    """Whether `fit` would apply this rank's own gradients: its step and optimizer are Keras's."""
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if optimizer is None or synchronizer_of(optimizer) is not None:
        return False
    is_of_keras = type(optimizer).__module__.startswith("keras.")
    return (
        is_of_keras
        and type(model).train_step is keras.Model.train_step
        and not (model.built and not model.trainable_variables)
    )


def _files_of(callbacks: list[Any]) -> list[list[str]]:
    """Returns class and path of the callbacks of Keras, or derived from them, that write."""
    return [
        [type(callback).__name__, os.path.abspath(str(getattr(callback, attribute, "")))]
        for callback in callbacks
        for kind, attribute in _WRITERS
        if isinstance(callback, kind)
        and not type(callback).__module__.startswith("hvd_imgcls.keras.callbacks")
    ]


def _warn_of_shared_files(by_rank: list[list[list[str]]]) -> None:
    """Warns, once per process, of files that more than one rank writes."""
    ranks_of: dict[tuple[str, str], list[int]] = {}
    for rank, files in enumerate(by_rank):
        for name, path in files:
            ranks_of.setdefault((name, path), []).append(rank)
    for (name, path), writers in ranks_of.items():
        if len(writers) < 2:
            continue
        fix = "wrap the list of callbacks: hvd.callbacks.rank_safe([...])"
        text = f"{name}: {name_ranks(writers)} write {path} at the same time; {fix}"
        if text not in _warned:
            _warned.add(text)
            logger.warning(text)
