"""Registers the state of a training phase with its run."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from hvd_imgcls.keras.state.callback_state import CallbackState
from hvd_imgcls.keras.state.class_parts import ClassPartsState, whole_of_parts
from hvd_imgcls.keras.state.combining import first_epochs_of_all
from hvd_imgcls.keras.state.registration import register_model
from hvd_imgcls.keras.state.training_state import MetricsState
from hvd_imgcls.state_registry import Stateful, of_the_root
from hvd_imgcls.workflows.training.callbacks import Place
from hvd_imgcls.workflows.training.phase import Phase
from hvd_imgcls.workflows.training.run import Run


def register_phase(
    run: Run,
    phase: Phase,
    callbacks: Sequence[tuple[Place, keras.callbacks.Callback]],
    training: Stateful,
) -> None:
    """Registers everything that a phase keeps between steps.

    The state of the previous phase is removed: its result is in the model.

    Args:
        run: The run.
        phase: The training that starts.
        callbacks: Its callbacks.
        training: What calls them.
    """
    states, name, model = run.states, phase.name, phase.model
    states.keep_only("record")
    states.register(f"{name}.position", phase.position)
    states.register(f"{name}.training", training)
    register_model(states, model, MetricsState(model), f"{name}.")
    if phase.head is not None:
        state = ClassPartsState(model, phase.head)
        states.register(f"{name}.head", state, combine=whole_of_parts)
    states.register(f"{name}.bad_examples", phase.bad_example_log, combine=first_epochs_of_all)
    if phase.allocation is not None:
        states.register(f"{name}.allocation", phase.allocation)
    for index, (place, callback) in enumerate(callbacks):
        states.register(
            f"{name}.callback.{index}.{place.name}",
            CallbackState(callback),
            combine=of_the_root if place.differs_by_rank else None,
        )
