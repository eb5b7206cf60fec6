"""The callbacks of a training phase, in a declared order with reasons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras

import hvd_imgcls.keras as hvd
from hvd_imgcls.plan.balancing import allocation_unit_of
from hvd_imgcls.workflows.progress import StopAfterSteps
from hvd_imgcls.workflows.quarantine import PlannedImages, Quarantine
from hvd_imgcls.workflows.training.balancing import Balancing, note_batch_statistics
from hvd_imgcls.workflows.training.held_out import HeldOutEvaluation
from hvd_imgcls.workflows.training.non_finite_examples import NonFiniteExampleFinder
from hvd_imgcls.workflows.training.phase import Phase
from hvd_imgcls.workflows.training.run import Run
from hvd_imgcls.workflows.training.user_callbacks import configured_callbacks
from hvd_imgcls.workflows.training.watching import watch


@dataclass(frozen=True, slots=True)
class Setting:
    """Inputs from which callbacks are created.

    Attributes:
        run: The run.
        phase: The training.
        given: The user's own callbacks.
    """

    run: Run
    phase: Phase
    given: Sequence[keras.callbacks.Callback]


Callbacks = list[keras.callbacks.Callback]


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the order of callbacks.

    Attributes:
        name: Name of its callbacks in the state of the run.
        reason: Why it is at this place.
        make: Returns its callbacks, none if the run needs none.
        is_for_labels_only: Whether pre-training has no such callbacks.
        differs_by_rank: Whether the state of its callbacks differs by rank.
    """

    name: str
    reason: str
    make: Callable[[Setting], Callbacks]
    is_for_labels_only: bool = False
    differs_by_rank: bool = False


def _broadcast(_: Setting) -> Callbacks:
    return [hvd.callbacks.BroadcastGlobalVariablesCallback(0)]


def _metric_average(_: Setting) -> Callbacks:
    return [hvd.callbacks.MetricAverageCallback()]


def _non_finite(setting: Setting) -> Callbacks:
    phase, finder = setting.phase, None
    # The finder computes the loss of single images with labels.
    if phase.name == "training":
        finder = NonFiniteExampleFinder(setting.run, phase)
    action = phase.config.train.non_finite
    return [hvd.callbacks.NonFiniteCallback(action, name_examples=finder, position=phase.position)]


def _moving_statistics(setting: Setting) -> Callbacks:
    config = setting.phase.config
    if config.callbacks or setting.given or config.evaluation.every_epochs:
        return [hvd.callbacks.AverageMovingStatisticsCallback()]
    return []


def _held_out(setting: Setting) -> Callbacks:
    every_epochs = setting.phase.config.evaluation.every_epochs
    return [HeldOutEvaluation(setting.run, setting.phase, every_epochs)] if every_epochs else []


def _configured(setting: Setting) -> Callbacks:
    return configured_callbacks(setting.run, setting.given)


def _progress(setting: Setting) -> Callbacks:
    return [watch(setting.run, setting.phase)]


def _balancing(setting: Setting) -> Callbacks:
    run, phase = setting.run, setting.phase
    section = phase.config.data.allocation
    if phase.allocation is None or section.name == "static":
        return []
    note_batch_statistics(phase.model)
    return [
        Balancing(
            section,
            phase.allocation,
            phase.position,
            run.collectives,
            unit=allocation_unit_of(phase.config, phase.plan),
            exchanging=run.limits.exchanging,
            board=phase.record.board,
        )
    ]


def _stop_after_steps(setting: Setting) -> Callbacks:
    plan = setting.phase.plan
    if plan.num_steps % plan.steps_per_epoch:
        return [StopAfterSteps(plan, setting.phase.position)]
    return []


def _quarantine(setting: Setting) -> Callbacks:
    run, phase = setting.run, setting.phase
    if phase.config.data.bad_examples != "quarantine":
        return []
    return [
        Quarantine(
            phase.name,
            PlannedImages(phase.source, phase.config, phase.plan, phase.allocation),
            phase.position,
            phase.bad_example_log,
            run.collectives,
            run.files.quarantine,
        )
    ]


ORDER = (
    Place("broadcast", "all others must see the weights that all ranks share", _broadcast),
    Place("metric_average", "before it, metrics are those of one rank", _metric_average),
    Place("non_finite", "all others must not see a step that is undone", _non_finite),
    Place(
        "moving_statistics",
        "evaluation and saving need the moving statistics of all ranks",
        _moving_statistics,
        is_for_labels_only=True,
    ),
    Place(
        "held_out_evaluation",
        "provides the metrics for callbacks that decide by them",
        _held_out,
        is_for_labels_only=True,
    ),
    Place(
        "configured",
        "they decide, and may add to the metrics that are written next",
        _configured,
        is_for_labels_only=True,
        differs_by_rank=True,
    ),
    Place("progress", "writes the metrics of the epoch", _progress, differs_by_rank=True),
    Place("allocation", "what it changes belongs to later steps", _balancing),
    Place("stop_after_steps", "the last batch is included in all metrics", _stop_after_steps),
    Place("quarantine", "if too many bad images end the run, metrics are written", _quarantine),
)
"""The callbacks of a phase from first to last; batch and epoch ends run in this order."""


def make_callbacks(
    run: Run, phase: Phase, given: Sequence[keras.callbacks.Callback]
) -> list[tuple[Place, keras.callbacks.Callback]]:
    """Returns the callbacks with their places, the same on every rank, in the same order.

    Collective: every rank must call this.

    Args:
        run: The run.
        phase: The training.
        given: The user's own callbacks, the same on all ranks.

    Raises:
        RankMismatchError: If the callbacks differ between ranks.
        ConfigError: If one of them cannot work on several ranks.
    """
    setting = Setting(run, phase, given)
    return [
        (place, callback)
        for place in ORDER
        if phase.name == "training" or not place.is_for_labels_only
        for callback in place.make(setting)
    ]
