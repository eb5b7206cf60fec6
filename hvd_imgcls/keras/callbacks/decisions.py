"""Sends the changes made by a callback that ran on the root to all ranks.

The root compares the training state before and after the callback. Variables are compared by
hash, so that only changed ones are sent.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.checks.digest import digest_array
from hvd_imgcls.keras.communication.objects import broadcast_variables
from hvd_imgcls.keras.graph.random_states import is_random_state
from hvd_imgcls.keras.graph.variables import native_variable
from hvd_imgcls.keras.state.training_state import PLAIN, numbers_of
from hvd_imgcls.keras.synchronization.comparison import without_local_slots
from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

ROOT = 0


class Watch:
    """A snapshot of the training state, for comparison with a later one. Root only.

    Args:
        model: The model.
        logs: The values that the callbacks may change.
        with_weights: Whether to include all weights and the whole optimizer state, or
            only its scalars, such as the learning rate.
    """

    def __init__(
        self, model: keras.Model, logs: dict[str, Any] | None, *, with_weights: bool
    ) -> None:
        self._model = model
        self._logs = dict(logs or {})
        self._with_weights = with_weights
        self._digests = self._digests_now()
        self._settings = _numbers_of(model)
        self._parts = _parts_of(model)
        self._did_stop = bool(getattr(model, "stop_training", False))

    def changes(self, logs: dict[str, Any] | None) -> dict[str, Any]:
        """Returns the changes since the snapshot, as JSON; empty if there are none.

        Raises:
            ConfigError: If a change cannot be applied on other ranks.
        """
        if _parts_of(self._model) != self._parts:
            raise ConfigError(
                "callbacks",
                got="a callback that recompiles the model, replaces the optimizer or its "
                "schedule, or changes which weights are trainable",
                expected="one that changes values: weights, learning rate, stop_training, logs",
                fix="do it on all ranks, before fit or between two calls of fit",
            )
        changed: dict[str, Any] = {}
        digests = self._digests_now()
        if digests != self._digests:
            pairs = zip(digests, self._digests, strict=False)
            changed["variables"] = [n for n, (now, then) in enumerate(pairs) if now != then]
            changed["num_variables"] = len(digests)
        settings = _difference(_numbers_of(self._model), self._settings)
        if settings:
            changed["settings"] = settings
        values = _difference(logs or {}, self._logs)
        if values:
            changed["logs"] = values
        does_stop = bool(getattr(self._model, "stop_training", False))
        if does_stop != self._did_stop:
            changed["stop_training"] = does_stop
        return changed

    def _digests_now(self) -> list[int]:
        # One by one: together they would be a second copy of the model.
        return [
            digest_array(native_variable(variable).numpy())
            for variable in shared_variables(self._model, only_scalars=not self._with_weights)
        ]


def share(changes: dict[str, Any]) -> dict[str, Any]:
    """Broadcasts the root's changes. Collective: a single small message if there are none.

    Args:
        changes: A JSON object on the root; ignored on other ranks.
    """
    ranks = distributed.current()
    has_any = tf.constant([int(bool(changes))], tf.int32)
    has_any = ranks.broadcast(has_any, ROOT, name="rank_safe.has_any")
    if not int(has_any[0]):
        return {}
    shared: dict[str, Any] = ranks.broadcast_json(changes, ROOT)
    return shared


def follow(
    model: keras.Model,
    logs: dict[str, Any] | None,
    changes: dict[str, Any],
    *,
    with_weights: bool,
) -> None:
    """Applies the root's changes on this rank. Collective: every rank must call this.

    Args:
        model: The model.
        logs: The values that the callbacks may change.
        changes: Result of `share`.
        with_weights: As for `Watch`.

    Raises:
        RankMismatchError: On all ranks, if a rank has other variables than the root.
    """
    if "variables" in changes:
        variables = shared_variables(model, only_scalars=not with_weights)
        # A rank with fewer variables sends those that it has: the comparison comes first.
        changed = [variables[index] for index in changes["variables"] if index < len(variables)]
        broadcast_variables(changed, ROOT, facts={"shared variables": len(variables)})
    for name, value in changes.get("settings", {}).items():
        setattr(_inner(model.optimizer), name, value)
    if logs is not None:
        logs.update(changes.get("logs", {}))
    if "stop_training" in changes:
        model.stop_training = changes["stop_training"]


def shared_variables(model: keras.Model, *, only_scalars: bool = False) -> list[Any]:
    """Returns the variables of model and optimizer that are equal on all ranks.

    Excludes random states, which differ between ranks, and local variables with their slots.

    Args:
        model: The model.
        only_scalars: Whether to return only scalars of the optimizer.
    """
    optimizer = getattr(model, "optimizer", None)
    optimizer_variables = list(optimizer.variables) if optimizer is not None else []
    if only_scalars:
        return [variable for variable in optimizer_variables if not tuple(variable.shape)]
    synchronizer = synchronizer_of(optimizer)
    variables = [v for v in model.variables if not is_random_state(v)]
    if synchronizer is None or not synchronizer.reduction.local_variables:
        return variables + optimizer_variables
    reduction = synchronizer.reduction
    return reduction.shared(variables) + without_local_slots(
        optimizer_variables, model.trainable_variables, reduction.is_local
    )


def _inner(optimizer: Any) -> Any:
    return getattr(optimizer, "inner_optimizer", optimizer)


def _numbers_of(model: keras.Model) -> dict[str, Any]:
    optimizer = getattr(model, "optimizer", None)
    return {} if optimizer is None else numbers_of(optimizer)


def _parts_of(model: keras.Model) -> list[Any]:
    """Returns the objects that must be identical before and after."""
    optimizer = getattr(model, "optimizer", None)
    return [
        id(optimizer),
        id(getattr(_inner(optimizer), "_learning_rate", None)),
        *(id(variable) for variable in model.trainable_variables),
    ]


def _difference(now: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    """Returns the plain values that are new or have changed."""
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in now.items()
        if (value is None or isinstance(value, PLAIN))
        and not (name in then and _is_same(value, then[name]))
    }


def _is_same(value: Any, other: Any) -> bool:
    return value is other or (type(value) is type(other) and bool(value == other))
