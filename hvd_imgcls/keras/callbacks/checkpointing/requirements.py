"""What `fit` must be like, so that it can be continued exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.callbacks import backups
from hvd_imgcls.keras.callbacks.rank_safe import RankSafe
from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of

_DATA_FIX = (
    "pass checkpoint.dataset(dataset_of_epoch, steps_per_epoch) and the same steps_per_epoch to "
    "fit; for a dataset in the same order in every epoch: checkpoint.dataset(lambda epoch: "
    "dataset, steps_per_epoch)"
)


def require_positive(name: str, value: Any, kind: Any, *, is_optional: bool = True) -> None:
    """Checks an argument of `Checkpoint`.

    Args:
        name: Its name.
        value: Its value.
        kind: `int`, or `int | float`.
        is_optional: Whether it may be None.

    Raises:
        ConfigError: If it is not a positive number of this kind.
    """
    if value is None and is_optional:
        return
    if isinstance(value, bool) or not isinstance(value, kind) or value <= 0:
        raise ConfigError(
            f"Checkpoint({name})",
            got=value,
            expected="a positive integer" if kind is int else "a positive number",
            fix="pass one, or None for none" if is_optional else "pass one",
        )


def require_place(callback_list: Any, own: keras.callbacks.Callback) -> None:
    """Checks the kind of `fit`, and the callbacks beside `Checkpoint`.

    Args:
        callback_list: The `CallbackList` of `fit`.
        own: The `Checkpoint`.

    Raises:
        ConfigError: If it is not the last one, or a `BackupAndRestore` is among the others.
    """
    if type(callback_list) is not keras.callbacks.CallbackList:
        raise ConfigError(
            "callbacks",
            got="Checkpoint in training that saves itself",
            expected="Checkpoint in model.fit, with a list of callbacks",
            fix="use the section `checkpoint` of the pipeline instead",
        )
    added_by_fit = (keras.callbacks.History, keras.callbacks.ProgbarLogger)
    callbacks = [c for c in callback_list.callbacks if not isinstance(c, added_by_fit)]
    if callbacks[-1] is not own:
        names = ", ".join(type(callback).__name__ for callback in callbacks)
        raise ConfigError(
            "callbacks",
            got=names,
            expected="Checkpoint as the last one: it saves what the others have done",
            fix="move it to the end of the list",
        )
    inner = [c for one in callbacks if isinstance(one, RankSafe) for c in one.callbacks]
    if backups.any_restores([*callbacks, *inner]):
        raise ConfigError(
            "callbacks",
            got="Checkpoint and BackupAndRestore",
            expected="one of them: both choose the epoch from which training continues",
            fix="remove BackupAndRestore",
        )


def require_steps(params: Mapping[str, Any], model: keras.Model, declared: int | None) -> int:
    """Returns the number of batches per epoch.

    Args:
        params: The parameters that `fit` gives to callbacks.
        model: A compiled model.
        declared: That of `Checkpoint.dataset`, if it was called.

    Raises:
        ConfigError: If it is unknown, or an epoch would end within an update or an execution.
    """
    steps = params.get("steps")
    if not steps or (declared is not None and declared != steps):
        raise ConfigError(
            "fit(steps_per_epoch)",
            got=steps,
            expected="the number of batches per epoch"
            if declared is None
            else f"{declared}, as for checkpoint.dataset",
            fix=_DATA_FIX,
        )
    units = {
        "steps_per_execution": model.steps_per_execution,
        "passes per update": passes_per_update(model.optimizer),
    }
    for name, unit in units.items():
        if steps % unit:
            raise ConfigError(
                "fit(steps_per_epoch)",
                got=steps,
                expected=f"a multiple of {unit}, the {name}: nothing can be saved in between",
                fix="change one of the two",
            )
    return int(steps)


def require_endless(iterator: Any) -> None:
    """Checks that the data of `fit` are one dataset for all epochs, not one for each.

    Args:
        iterator: What `fit` passes to the step function.

    Raises:
        ConfigError: If `fit` would begin the data anew in every epoch.
    """
    dataset = getattr(iterator, "_dataset", None)
    cardinality = None if dataset is None else int(dataset.cardinality())
    if cardinality == tf.data.INFINITE_CARDINALITY:
        return
    got = "arrays, a generator or a dataset of unknown length"
    if cardinality is not None and cardinality >= 0:
        got = f"a dataset of {cardinality} batches"
    raise ConfigError(
        "fit(data)",
        got=got,
        expected="a tf.data.Dataset without an end, from the position on: fit begins others anew "
        "in every epoch, and could not continue within one",
        fix=_DATA_FIX,
    )


def require_same_order(
    digests_by_rank: Sequence[tuple[str, str]], facts: Mapping[str, Any] | None
) -> None:
    """Checks that an epoch has the same order whenever it is read, also as in an earlier script.

    Args:
        digests_by_rank: Of each rank, digests of the first batch of the first epoch, read twice.
        facts: Of the checkpoint from which training is continued, if there is one.

    Raises:
        ConfigError: If it has not.
    """
    got, now = "", [first for first, _ in digests_by_rank]
    then = [] if facts is None else facts["first_batches"]
    if any(first != second for first, second in digests_by_rank):
        got = "batches that differ when an epoch is read twice"
    elif then and len(then) == len(now) and then != now:
        got = "another first batch of the first epoch than when training began"
    if got:
        raise ConfigError(
            "dataset_of_epoch",
            got=got,
            expected="an order, and changes of the examples, that depend on nothing but the epoch",
            fix="give a seed to every random operation, such as .shuffle(n, seed=epoch), and keep "
            "map deterministic; or begin in another directory if the data have changed",
        )


def require_used(*, is_used: bool, path: Any) -> None:
    """Checks that the script has asked from where its data must begin.

    Args:
        is_used: Whether it has.
        path: The directory of the checkpoints.

    Raises:
        ConfigError: If it has not.
    """
    if not is_used:
        raise ConfigError(
            "fit(data)",
            got=f"data that begin at the first epoch, although {path} holds a checkpoint",
            expected="data that begin at checkpoint.position",
            fix=_DATA_FIX,
        )


def require_same_steps(facts: Mapping[str, Any], steps: int, steps_per_execution: int) -> None:
    """Checks that a position of then is one of now.

    Args:
        facts: Of the checkpoint.
        steps: Batches per epoch now.
        steps_per_execution: Of the model.

    Raises:
        ConfigError: If the number of batches per epoch differs, or an execution would be divided.
    """
    then = facts["steps_per_epoch"]
    if then != steps:
        raise ConfigError(
            "fit(steps_per_epoch)",
            got=steps,
            expected=f"{then}, as when it was saved, on {facts['size']} ranks",
            fix="keep the global batch: on twice as many ranks, half the batch size per rank",
        )
    if facts["batch"] % steps_per_execution:
        raise ConfigError(
            "compile(steps_per_execution)",
            got=steps_per_execution,
            expected=f"a divisor of {facts['batch']}, the batches completed in the epoch",
            fix="continue with the same steps_per_execution",
        )


def passes_per_update(optimizer: Any) -> int:
    """Returns the number of backward passes per update of an optimizer, 1 without accumulation."""
    synchronizer = synchronizer_of(optimizer)
    if synchronizer is not None and synchronizer.accumulation is not None:
        return synchronizer.accumulation.num_passes
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return int(getattr(inner, "gradient_accumulation_steps", None) or 1)


def refuse_local_variables(model: keras.Model, callbacks: list[Any]) -> None:
    """Refuses models that differ between ranks.

    Raises:
        ConfigError: If there are local variables, of which only the root's would be saved.
    """
    synchronizer = synchronizer_of(model.optimizer)
    is_local = synchronizer is not None and bool(synchronizer.reduction.local_variables)
    if is_local or any(getattr(callback, "_local", None) for callback in callbacks):
        raise ConfigError(
            "callbacks",
            got="Checkpoint and local variables",
            expected="a model that is the same on all ranks: only the root's weights are saved",
            fix="save every rank's model to its own file and load it before fit",
        )
