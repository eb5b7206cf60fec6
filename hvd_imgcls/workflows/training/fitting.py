"""From the first step to the last."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import keras

import hvd_imgcls.keras as hvd
from hvd_imgcls.data.bad_examples.log import BadExampleLog
from hvd_imgcls.data.bad_examples.unreadable import naming_unreadable_images
from hvd_imgcls.data.pipeline.dataset import training_dataset
from hvd_imgcls.keras.layers.moving_statistics import unmoved_share
from hvd_imgcls.plan import Plan
from hvd_imgcls.workflows.progress import StopAfterSteps
from hvd_imgcls.workflows.quarantine import Quarantine
from hvd_imgcls.workflows.training.freezing import Freezer, Segment, carry_over, segments
from hvd_imgcls.workflows.training.model import compile_model
from hvd_imgcls.workflows.training.run import Run
from hvd_imgcls.workflows.training.user_callbacks import deciding_callbacks
from hvd_imgcls.workflows.training.watching import watch

logger = logging.getLogger(__name__)

# Of the moving statistics: what they began as may make up so much of them in the end.
_MOST_UNMOVED = 0.05


def fit(run: Run, model: keras.Model, given: Sequence[keras.callbacks.Callback] = ()) -> None:
    """Compiles a model and trains it to the end of the plan, layers frozen as the run says.

    A callback may stop it earlier.

    Collective: every rank must call this.

    Args:
        run: The run.
        model: The model.
        given: Callbacks of the user's own, the same on all ranks.

    Raises:
        ConfigError: If there is no layer of the name that is to be frozen.
        DataError: If an image cannot be read; with `quarantine`, if too many cannot.
    """
    bad_example_log, freezer = BadExampleLog(), Freezer(model)
    callbacks = OneTraining(_make_callbacks(run, model, bad_example_log, given), model, run.plan)
    for segment in segments(run.config.fine_tuning.freeze, run.plan.num_epochs):
        _compile_for(segment, run, model, freezer)
        _warn_of_lagging_statistics(segment, run, model)
        _fit_segment(segment, run, model, callbacks, bad_example_log)
        if model.stop_training:
            break
    callbacks.end()
    freezer.freeze([])


def _compile_for(segment: Segment, run: Run, model: keras.Model, freezer: Freezer) -> None:
    """Compiles the model for the layers that are trained now; the optimizer goes on."""
    so_far = model.optimizer if segment.first_epoch else None
    num_frozen = freezer.freeze(segment.frozen)
    compile_model(model, run.config, run.plan)
    model.optimizer.build(model.trainable_variables)
    if so_far is not None:
        carry_over(so_far, model.optimizer)
    if segment.frozen or so_far is not None:
        logger.info(
            "epochs %d to %d: %d layers frozen (%s)",
            segment.first_epoch + 1,
            segment.last_epoch,
            num_frozen,
            ", ".join(segment.frozen) or "none",
        )


def _warn_of_lagging_statistics(segment: Segment, run: Run, model: keras.Model) -> None:
    """Says so if the model will be right in training and wrong afterwards."""
    plan = run.plan
    if segment.last_epoch < plan.num_epochs or run.config.train.recalibration_batches:
        return
    num_steps = plan.num_steps - segment.first_epoch * plan.steps_per_epoch
    share = unmoved_share(model, num_steps * plan.gradient_accumulation_steps)
    if share > _MOST_UNMOVED and run.is_root:
        logger.warning(
            "%s steps are few for this model's batch normalisation: the moving statistics that "
            "it is evaluated with will still be to %.0f %% what they are now, and held-out "
            "accuracy may be far below that in training; to fix it: "
            "--train.recalibration_batches 20",
            f"{num_steps:,}",
            100 * share,
        )


def _fit_segment(
    segment: Segment,
    run: Run,
    model: keras.Model,
    callbacks: keras.callbacks.CallbackList,
    bad_example_log: BadExampleLog,
) -> None:
    """Trains through some epochs. Collective."""
    plan = run.plan
    dataset = training_dataset(
        run.source,
        run.config,
        plan,
        rank=run.rank,
        start_epoch=segment.first_epoch,
        collectives=run.collectives,
        bad_example_log=bad_example_log,
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
            initial_epoch=segment.first_epoch,
            epochs=segment.last_epoch,
            steps_per_epoch=plan.batches_per_epoch,
            callbacks=callbacks,
            # The dataset has its order already.
            shuffle=False,
            verbose=0,
        )


class OneTraining(keras.callbacks.CallbackList):
    """Callbacks for which several calls of `fit` are one training.

    Args:
        callbacks: In their order.
        model: What is trained.
        plan: The plan of the whole training.
    """

    def __init__(
        self, callbacks: list[keras.callbacks.Callback], model: keras.Model, plan: Plan
    ) -> None:
        # What `fit` tells callbacks that it is given in a plain list.
        params = {"epochs": plan.num_epochs, "steps": plan.batches_per_epoch, "verbose": 0}
        super().__init__(callbacks, add_history=True, model=model, **params)
        self._has_begun = False
        self._last_logs: dict[str, Any] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begins, the first time."""
        if not self._has_begun:
            self._has_begun = True
            super().on_train_begin(logs)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Waits for `end`."""
        self._last_logs = logs

    def end(self) -> None:
        """Ends, once."""
        super().on_train_end(self._last_logs)


def _make_callbacks(
    run: Run,
    model: keras.Model,
    bad_example_log: BadExampleLog,
    given: Sequence[keras.callbacks.Callback],
) -> list[keras.callbacks.Callback]:
    """Returns the callbacks, on every rank the same ones in the same order."""
    plan = run.plan
    callbacks = [
        # First: the others must see the weights that all ranks share.
        hvd.callbacks.BroadcastGlobalVariablesCallback(0),
        # Before whoever reads the metrics of an epoch: they are one rank's until then.
        hvd.callbacks.MetricAverageCallback(),
        # Before what writes the metrics of an epoch: what these add to them is in it.
        *deciding_callbacks(run, model, given),
        watch(run),
    ]
    if plan.num_steps % plan.steps_per_epoch:
        callbacks.append(StopAfterSteps(plan))
    if run.config.data.bad_examples == "quarantine":
        callbacks.append(
            Quarantine(
                run.source, run.config, plan, bad_example_log, run.collectives, run.files.quarantine
            )
        )
    return callbacks
