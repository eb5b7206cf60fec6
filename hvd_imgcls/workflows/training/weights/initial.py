"""Starts a run from the weights of another one: `train --from`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras

from hvd_imgcls import distributed
from hvd_imgcls.distributed.state_exchange import share_states
from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.keras.graph.variables import native_variable
from hvd_imgcls.keras.state.training_state import StatisticsState, WeightsState
from hvd_imgcls.optimizers.depth import last_kernel_layer
from hvd_imgcls.state_registry import State
from hvd_imgcls.workflows.checkpoints.exporting import fact, weights_of
from hvd_imgcls.workflows.checkpoints.finding import read_checkpoint
from hvd_imgcls.workflows.training.run import Run

logger = logging.getLogger(__name__)


def load_initial_weights(run: Run, model: keras.Model, path: Path) -> None:
    """Gives a model the weights of a checkpoint, except its last layer if the classes differ.

    Collective: every rank must call this. Only the root reads the checkpoint.

    Args:
        run: The run that starts.
        model: Its model, of the same architecture.
        path: A checkpoint, or a run directory.

    Raises:
        CheckpointError: If the checkpoint is missing or damaged, or of another model.
    """
    states: list[dict[str, State]] = []

    def read() -> list[str]:
        checkpoint = read_checkpoint(path)
        weights, statistics = weights_of(checkpoint)
        states.append({"weights": weights, "statistics": statistics})
        return [str(name) for name in fact(checkpoint, "class_names")]

    class_names = distributed.agreement.on_root(run.collectives, read)
    (shared,) = share_states(run.collectives, states or [{}])
    has_same_classes = class_names == list(run.source.class_names)
    head = () if has_same_classes else last_kernel_layer(model).variables
    new = {id(native_variable(variable)) for variable in head}
    _assign(WeightsState(model), shared["weights"], new, path)
    _assign(StatisticsState(model), shared["statistics"], new, path)
    which = "" if has_same_classes else ", with a new last layer for other classes"
    logger.info("weights of %s%s", path, which)


def _assign(
    of_model: WeightsState | StatisticsState, state: State, new: set[int], path: Path
) -> None:
    """Assigns all values but those of new variables, which keep theirs."""
    own: dict[str, Any] = of_model.state()
    variables = of_model.variables
    if len(own["values"]) != len(state["values"]):
        raise _other_model(path, f"{len(state['values'])} variables", f"{len(own['values'])}")
    for index, variable in enumerate(variables):
        if id(native_variable(variable)) in new:
            state["values"][index] = own["values"][index]
            continue
        got, expected = state["values"][index].shape, own["values"][index].shape
        if got != expected:
            name = own["names"][index]
            raise _other_model(path, f"{name} of shape {list(got)}", f"{list(expected)}")
    of_model.restore({**state, "names": own["names"]})


def _other_model(path: Path, got: str, expected: str) -> CheckpointError:
    error = CheckpointError(
        f"{path}: got {got}, expected {expected}; use the `model` section of that run"
    )
    error.is_of_all_ranks = True
    return error
