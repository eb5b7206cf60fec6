"""Learning rates as pure functions of the number of finished steps."""

from __future__ import annotations

import keras

from hvd_imgcls.config.schedules import Schedule
from hvd_imgcls.plan import Plan


def build_schedule(
    config: Schedule, plan: Plan
) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """Returns the learning rate of every step.

    It is made of Keras's own parts, so that a saved model loads without this package. In
    the warmup the first step has the peak divided by the warmup steps, and not 0: a first
    step that changes nothing is a step lost.

    Args:
        config: The `schedule` section.
        plan: Where peak, warmup and length come from.

    Returns:
        A schedule, or a plain number for a learning rate that never changes.
    """
    peak = plan.peak_learning_rate
    final_fraction = config.final_fraction if config.name == "cosine" else 1.0
    if final_fraction == 1.0 and not plan.warmup_steps:
        return peak
    decay_steps = plan.num_steps - plan.warmup_steps
    if not plan.warmup_steps:
        return keras.optimizers.schedules.CosineDecay(peak, decay_steps, alpha=final_fraction)
    return keras.optimizers.schedules.CosineDecay(
        peak / plan.warmup_steps,
        decay_steps,
        # A cosine that ends where it begins is a constant.
        alpha=final_fraction,
        warmup_target=peak,
        warmup_steps=plan.warmup_steps,
    )
