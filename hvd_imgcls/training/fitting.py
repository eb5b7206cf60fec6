"""From the first step to the last."""

from __future__ import annotations

from collections.abc import Sequence

import keras

import hvd_imgcls.keras as hvd
from hvd_imgcls.data.blanks import Sightings
from hvd_imgcls.data.dataset import training_dataset
from hvd_imgcls.data.unreadable import naming_unreadable_images
from hvd_imgcls.progress import Progress, StopAfterSteps
from hvd_imgcls.quarantine import Quarantine
from hvd_imgcls.training.deciding import deciding_callbacks
from hvd_imgcls.training.run import Run


def fit(run: Run, model: keras.Model, given: Sequence[keras.callbacks.Callback] = ()) -> None:
    """Trains a compiled model to the end of the plan, or until a callback stops it.

    Collective: every rank must call this.

    Args:
        run: The run.
        model: The model, compiled.
        given: Callbacks of the user's own, the same on all ranks.
    """
    plan, sightings = run.plan, Sightings()
    callbacks = _make_callbacks(run, model, given)
    if run.config.data.bad_examples == "quarantine":
        callbacks.append(
            Quarantine(
                run.source, run.config, plan, sightings, run.collectives, run.files.quarantine
            )
        )
    dataset = training_dataset(
        run.source,
        run.config,
        plan,
        rank=run.rank,
        collectives=run.collectives,
        sightings=sightings,
    )
    with naming_unreadable_images(
        run.source,
        run.config,
        plan,
        rank=run.rank,
        finished_steps=lambda: int(model.optimizer.iterations),
    ):
        model.fit(
            dataset,
            epochs=plan.num_epochs,
            steps_per_epoch=plan.batches_per_epoch,
            callbacks=callbacks,
            # The dataset has its order already.
            shuffle=False,
            verbose=0,
        )


def _make_callbacks(
    run: Run, model: keras.Model, given: Sequence[keras.callbacks.Callback]
) -> list[keras.callbacks.Callback]:
    """Returns the callbacks, on every rank the same ones in the same order."""
    plan = run.plan
    callbacks = [
        # First: the others must see the weights that all ranks share.
        hvd.callbacks.BroadcastGlobalVariablesCallback(0),
        # Before whoever reads the metrics of an epoch: they are one rank's until then.
        hvd.callbacks.MetricAverageCallback(),
        # Before Progress: what they add to the metrics of an epoch is written there.
        *deciding_callbacks(run, model, given),
        Progress(plan, metrics_path=run.files.metrics if run.is_root else None),
    ]
    if plan.num_steps % plan.steps_per_epoch:
        callbacks.append(StopAfterSteps(plan))
    return callbacks
