"""Keras's `BackupAndRestore` on several ranks: the root restores, and all ranks follow.

It restores the weights and chooses the first epoch of `fit`. On one rank alone, the ranks would
train other epochs, and the one that is finished first would leave the others waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras

from hvd_imgcls import distributed
from hvd_imgcls.distributed.agreement import name_ranks, require_same
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.graph.building import create_optimizer_variables, is_built
from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

_FIX = (
    "pass it on every rank in hvd.callbacks.rank_safe([...]): the root reads and writes the "
    "files, and all ranks continue in the same epoch"
)


def any_restores(callbacks: Iterable[Any]) -> bool:
    """Returns whether one of the callbacks is a `BackupAndRestore`."""
    return any(isinstance(callback, keras.callbacks.BackupAndRestore) for callback in callbacks)


def require_on_all_or_none(restores: Sequence[bool]) -> None:
    """Refuses a `BackupAndRestore` that only some ranks have.

    Args:
        restores: For every rank, whether its `fit` has one that `RankSafe` does not wrap.

    Raises:
        ConfigError: On all ranks, because all of them know the same.
    """
    if any(restores) and not all(restores):
        them = [rank for rank, does in enumerate(restores) if does]
        raise ConfigError(
            "callbacks",
            got=f"BackupAndRestore on {name_ranks(them)} only",
            expected="the same first epoch and weights on all ranks, but it restores them on its "
            "own rank",
            fix=_FIX,
        )


def require_same_first_epoch(model: keras.Model) -> None:
    """Compares the epochs in which the ranks begin. Collective: every rank must call this.

    Raises:
        RankMismatchError: On all ranks, if their backups are of different epochs.
    """
    require_same(
        distributed.current(),
        {"first epoch that BackupAndRestore restored": model._initial_epoch or 0},
        fix=_FIX,
    )


def prepare(model: keras.Model) -> None:
    """Creates the variables that a backup of the root will be sent to, before it is read.

    Raises:
        ConfigError: If the model has local variables, which only the root's backup would have.
    """
    if distributed.current().topology.size == 1:
        return
    optimizer = model.optimizer
    synchronizer = synchronizer_of(optimizer)
    if synchronizer is not None and synchronizer.reduction.local_variables:
        raise ConfigError(
            "callbacks",
            got="BackupAndRestore and local variables",
            expected="a model that is the same on all ranks: only the root's part is saved",
            fix="save every rank's model to its own file and load it before fit",
        )
    if optimizer is not None and is_built(model) and model.trainable_variables:
        create_optimizer_variables(optimizer, model.trainable_variables)


def share_first_epoch(model: keras.Model) -> None:
    """Begins on this rank in the root's first epoch. Collective: every rank must call this."""
    model._initial_epoch = distributed.current().broadcast_json(model._initial_epoch)
