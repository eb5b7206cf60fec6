"""Registers the state of a training phase with its run."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from hvd_imgcls.keras.state.callback_state import CallbackState
from hvd_imgcls.keras.state.training_state import MetricsState, ModelState, OptimizerState
from hvd_imgcls.workflows.training.callbacks import Place
from hvd_imgcls.workflows.training.phase import Phase
from hvd_imgcls.workflows.training.run import Run


def register_phase(
    run: Run, phase: Phase, callbacks: Sequence[tuple[Place, keras.callbacks.Callback]]
) -> None:
    """Registers everything that a phase keeps between steps.

    The state of the previous phase is removed: its result is in the model.

    Args:
        run: The run.
        phase: The training that starts.
        callbacks: Its callbacks.
    """
    states, name, model = run.states, phase.name, phase.model
    states.keep_only("record")
    states.register(f"{name}.position", phase.position)
    # Moving statistics and the states of random generators differ by rank.
    states.register(f"{name}.model", ModelState(model), differs_by_rank=True)
    states.register(f"{name}.optimizer", OptimizerState(model), differs_by_rank=True)
    states.register(f"{name}.metrics", MetricsState(model), differs_by_rank=True)
    states.register(f"{name}.bad_examples", phase.bad_example_log, differs_by_rank=True)
    for index, (place, callback) in enumerate(callbacks):
        states.register(
            f"{name}.callback.{index}.{place.name}",
            CallbackState(callback),
            differs_by_rank=place.differs_by_rank,
        )
