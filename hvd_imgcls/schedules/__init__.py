"""Learning-rate schedules as Keras objects: pure functions of the number of completed steps.

The formulas in plain Python are in `hvd_imgcls.plan.learning_rate`.
"""

from __future__ import annotations

from typing import Any

import keras

from hvd_imgcls.config.schedules import PolynomialSchedule, Schedule, StepSchedule
from hvd_imgcls.plan import Plan, milestone_steps, warmup_start
from hvd_imgcls.schedules.warm_up import WarmUp

# A `keras.optimizers.schedules.LearningRateSchedule`, or a float.
LearningRate = Any


def build_schedule(config: Schedule, plan: Plan) -> LearningRate:
    """Returns the learning-rate schedule of a run.

    It consists of Keras's own classes as far as they exist, so that a saved model can be trained
    further without this package. Keras has no warmup for `step` and `polynomial`.

    Args:
        config: The `schedule` section.
        plan: Provides peak, warmup and length.

    Returns:
        A schedule, or a plain number for a constant learning rate.
    """
    if isinstance(config, StepSchedule | PolynomialSchedule):
        after = _after_warmup(config, plan)
        if not plan.warmup_steps:
            return after
        start, peak = warmup_start(config, plan), plan.peak_learning_rate
        return WarmUp(start, peak, plan.warmup_steps, after)
    return _cosine_or_constant(config, plan)


def _after_warmup(config: StepSchedule | PolynomialSchedule, plan: Plan) -> LearningRate:
    """Returns the schedule of the steps after the warmup, counted from its end."""
    peak, schedules = plan.peak_learning_rate, keras.optimizers.schedules
    if isinstance(config, PolynomialSchedule):
        return schedules.PolynomialDecay(
            peak,
            plan.num_steps - plan.warmup_steps,
            end_learning_rate=peak * config.final_fraction,
            power=config.power,
        )
    milestones = milestone_steps(config, plan)
    return schedules.PiecewiseConstantDecay(
        # Keras's boundaries belong to the preceding interval.
        [step - plan.warmup_steps - 1 for step in milestones],
        [peak * config.factor**passed for passed in range(len(milestones) + 1)],
    )


def _cosine_or_constant(config: Schedule, plan: Plan) -> LearningRate:
    peak, decay_steps = plan.peak_learning_rate, plan.num_steps - plan.warmup_steps
    # A cosine with equal start and end is constant.
    final_fraction = config.final_fraction if config.name == "cosine" else 1.0
    if final_fraction == 1.0 and not plan.warmup_steps:
        return peak
    if not plan.warmup_steps:
        return keras.optimizers.schedules.CosineDecay(peak, decay_steps, alpha=final_fraction)
    return keras.optimizers.schedules.CosineDecay(
        warmup_start(config, plan),
        decay_steps,
        alpha=final_fraction,
        warmup_target=peak,
        warmup_steps=plan.warmup_steps,
    )
