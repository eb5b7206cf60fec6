"""Runs a phase from its first step, or from where it was interrupted, to its last."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Sequence

import keras
import tensorflow as tf

from hvd_imgcls.data.bad_examples.unreadable import naming_unreadable_images
from hvd_imgcls.data.pipeline.dataset import Start, training_dataset
from hvd_imgcls.failures import process_state
from hvd_imgcls.keras.graph.building import build_for
from hvd_imgcls.keras.layers.moving_statistics import unmoved_fraction
from hvd_imgcls.keras.layers.present_examples import ignoring_weight_zero, layers_that_see_all
from hvd_imgcls.keras.state.training_state import prepare_copies_of
from hvd_imgcls.keras.synchronization.example_counts import counting_examples
from hvd_imgcls.saving.newest_state import Resumed
from hvd_imgcls.workflows.training.callbacks import make_callbacks
from hvd_imgcls.workflows.training.freezing import Freezer, Segment, carry_over, segments
from hvd_imgcls.workflows.training.hang_limits import describe_images, describe_step
from hvd_imgcls.workflows.training.one_training import Hooks, OneTraining
from hvd_imgcls.workflows.training.phase import Phase
from hvd_imgcls.workflows.training.run import Run
from hvd_imgcls.workflows.training.states import register_phase

logger = logging.getLogger(__name__)

# Maximum fraction of the moving statistics that may be initial values at the end.
_MOST_UNMOVED = 0.05
_MAX_NAMED = 5


def fit(run: Run, phase: Phase, given: Sequence[keras.callbacks.Callback] = ()) -> Freezer:
    """Compiles the model of a phase and trains it to the end of the plan.

    Layers are frozen as configured. A callback may stop training early. If the
    run is resumed from a state of this phase, training continues with the next batch.

    Collective: every rank must call this.

    Args:
        run: The run.
        phase: The training.
        given: The user's own callbacks, the same on all ranks.

    Returns:
        What froze layers of the model; none are frozen any more.

    Raises:
        ConfigError: If no layer matches a name that is to be frozen.
        DataError: If an image cannot be read; with `quarantine`, if there are too many.
        CheckpointError: If the state does not fit.
    """
    model, position = phase.model, phase.position
    freezer = Freezer(model)
    placed = make_callbacks(run, phase, given)
    resumed = run.resumed_in(phase.name)
    callbacks = OneTraining(
        [callback for _, callback in placed],
        model,
        phase.plan,
        position,
        None if resumed is None else functools.partial(_restore, run, resumed),
        Hooks(
            checkpointing=run.checkpointing,
            evaluates_after=functools.partial(_evaluates_after, phase),
            on_callbacks=run.limits.call_back,
        ),
    )
    process_state.where = functools.partial(describe_step, phase)
    process_state.details = functools.partial(describe_images, phase, run.rank)
    register_phase(run, phase, placed, callbacks)
    is_stopped = False
    if resumed is not None:
        position.restore(resumed.states_by_rank[0][f"{phase.name}.position"])
        is_stopped = bool(resumed.states_by_rank[0][f"{phase.name}.training"]["stops"])
    with contextlib.ExitStack() as stack:
        if run.checkpointing is not None:
            stack.enter_context(run.checkpointing.phase(phase.name, position, _steps_before(run)))
        if _may_have_weight_zero(phase):
            stack.enter_context(ignoring_weight_zero(model))
        if phase.allocation is not None:
            stack.enter_context(counting_examples(model, phase.plan.per_rank_batch_size))
        _fit_segments(run, phase, freezer, callbacks, is_stopped=is_stopped)
        if run.checkpointing is not None:
            run.checkpointing.end_training(callbacks.last_metrics)
    callbacks.end()
    process_state.where = process_state.details = str
    freezer.thaw()
    return freezer


def _fit_segments(
    run: Run, phase: Phase, freezer: Freezer, callbacks: OneTraining, *, is_stopped: bool
) -> None:
    """Trains from the current position to the end of the plan. Collective."""
    model, position = phase.model, phase.position
    optimizer: keras.optimizers.Optimizer | None = None
    # Between two epochs, the state is that of the epoch before: of its layers and its optimizer.
    epoch = position.epoch if position.batch_in_epoch else max(0, position.epoch - 1)
    for segment in segments(phase.config.fine_tuning.freeze, phase.plan.num_epochs):
        if epoch >= segment.last_epoch:
            continue
        _compile_for(segment, phase, freezer, optimizer)
        optimizer = model.optimizer
        if run.is_root and run.checkpointing is not None:
            # While the first step is compiled, which is no work for all cores.
            prepare_copies_of(model)
        if run.is_root:
            _warn_of_lagging_statistics(segment, phase)
        _fit_segment(segment, run, phase, callbacks, is_stopped=is_stopped)
        if model.stop_training:
            return


def _restore(run: Run, resumed: Resumed) -> None:
    """Restores the state of this rank. Collective."""
    run.states.restore_on(resumed.states_by_rank, run.rank, run.plan.size)


def _evaluates_after(phase: Phase, epoch: int) -> bool:
    """Whether the held-out split is evaluated at the end of an epoch, 0-based."""
    every = phase.config.evaluation.every_epochs
    return phase.name == "training" and every is not None and (epoch + 1) % every == 0


def _steps_before(run: Run) -> int:
    """Returns the steps of the phases before the one that starts."""
    return 0 if run.record.pretraining is None else run.record.pretraining.num_steps


def _may_have_weight_zero(phase: Phase) -> bool:
    """Whether batches may contain padding or blank images; notes which layers would see them."""
    config, plan = phase.config, phase.plan
    is_padded = config.train.last_batch == "weighted" and bool(
        plan.num_train_examples % plan.global_batch_size
    )
    if not is_padded and config.data.bad_examples != "quarantine":
        return False
    unknown = layers_that_see_all(phase.model)
    if unknown:
        logger.info(
            "note: if one of these layers computes across the batch, it also sees %s, which have "
            "weight 0: %s",
            "padding" if is_padded else "blank images in place of bad ones",
            ", ".join(unknown[:_MAX_NAMED]),
        )
    return True


def _compile_for(
    segment: Segment,
    phase: Phase,
    freezer: Freezer,
    previous: keras.optimizers.Optimizer | None,
) -> None:
    """Compiles the model for the layers that are trainable now; the optimizer state is kept."""
    num_frozen = freezer.freeze(segment.frozen)
    phase.compile()
    model = phase.model
    model.optimizer.build(model.trainable_variables)
    if previous is not None:
        carry_over(previous, model.optimizer)
    if segment.frozen or previous is not None:
        logger.info(
            "epochs %d to %d: %d layers frozen (%s)",
            segment.first_epoch + 1,
            segment.last_epoch,
            num_frozen,
            ", ".join(segment.frozen) or "none",
        )
    logger.info("the first step is traced and compiled, which takes longer than the others")


def _warn_of_lagging_statistics(segment: Segment, phase: Phase) -> None:
    """Warns if too few steps make the moving statistics differ from those of training."""
    plan = phase.plan
    if segment.last_epoch < plan.num_epochs or phase.config.train.recalibration_batches:
        return
    num_steps = plan.num_steps - segment.first_epoch * plan.steps_per_epoch
    share = unmoved_fraction(phase.model, num_steps * plan.gradient_accumulation_steps)
    if share > _MOST_UNMOVED:
        logger.warning(
            "%s steps are few for this model's batch normalisation: the moving statistics used "
            "in evaluation will still be %.0f %% initial values, and held-out accuracy may be far "
            "below training accuracy; to fix it: "
            "--train.recalibration_batches 20",
            f"{num_steps:,}",
            100 * share,
        )


def _fit_segment(
    segment: Segment, run: Run, phase: Phase, callbacks: OneTraining, *, is_stopped: bool
) -> None:
    """Trains through some epochs. Collective."""
    position, plan = phase.position, phase.plan
    if is_stopped and position.batch_in_epoch:
        _end_epoch(phase, callbacks, _dataset(run, phase))
        return
    if is_stopped or position.epoch >= segment.last_epoch:
        _begin(phase, callbacks, _dataset(run, phase))
        return
    while position.epoch < segment.last_epoch:
        first_batch = position.batch_in_epoch
        num_left = plan.num_steps * plan.gradient_accumulation_steps - position.num_batches
        num_batches = min(plan.batches_per_epoch - first_batch, num_left)
        if not num_batches:
            _end_epoch(phase, callbacks, _dataset(run, phase))
        else:
            # The rest of an epoch separately: `fit` takes as many batches in every epoch.
            last_epoch = position.epoch + 1 if first_batch else segment.last_epoch
            _fit_epochs(run, phase, callbacks, last_epoch, num_batches)
        if phase.model.stop_training:
            return


def _fit_epochs(
    run: Run,
    phase: Phase,
    callbacks: OneTraining,
    last_epoch: int,
    num_batches: int,
) -> None:
    position = phase.position
    dataset = _dataset(run, phase)
    if position.num_batches:
        # Metrics are created in the first step, and must exist before their state is restored.
        build_for(phase.model, dataset.element_spec)
    run.limits.compile()
    with naming_unreadable_images(
        phase.source,
        phase.config,
        phase.plan,
        rank=run.rank,
        finished_steps=lambda: position.step,
        allocation=phase.allocation,
    ):
        phase.model.fit(
            dataset,
            initial_epoch=position.epoch,
            epochs=last_epoch,
            steps_per_epoch=num_batches,
            callbacks=callbacks,
            # The dataset is already in order.
            shuffle=False,
            verbose=0,
        )


def _begin(phase: Phase, callbacks: OneTraining, dataset: tf.data.Dataset) -> None:
    """Starts a resumed training without `fit`. Collective."""
    # Metrics are created in the first step, and must exist before their state is restored.
    build_for(phase.model, dataset.element_spec)
    phase.model.make_train_function()
    callbacks.on_train_begin()


def _end_epoch(phase: Phase, callbacks: OneTraining, dataset: tf.data.Dataset) -> None:
    """Ends an epoch that was interrupted after its last batch. Collective."""
    _begin(phase, callbacks, dataset)
    callbacks.on_epoch_begin(phase.position.epoch)
    callbacks.on_epoch_end(phase.position.epoch, dict(phase.model.get_metrics_result()))


def _dataset(run: Run, phase: Phase) -> tf.data.Dataset:
    """Returns the batches from the current position on."""
    position = phase.position
    return phase.transform(
        training_dataset(
            phase.source,
            phase.config,
            phase.plan,
            rank=run.rank,
            start=Start(
                epoch=position.epoch,
                step=position.step_in_epoch,
                passes=position.passes,
                allocation=phase.allocation,
            ),
            collectives=run.collectives,
            bad_example_log=phase.bad_example_log,
        )
    )
