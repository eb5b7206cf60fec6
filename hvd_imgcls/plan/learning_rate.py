"""The learning rate at every step: the formulas, in plain Python.

`hvd_imgcls.schedules` implements the same as Keras objects; a test compares the two. The
learning rate depends only on the number of completed updates, so restarts, the number of ranks
and gradient accumulation do not affect it.
"""

from __future__ import annotations

import math

from hvd_imgcls.config.schedules import PolynomialSchedule, Schedule, StepSchedule
from hvd_imgcls.plan.making import Plan


def learning_rate_at(step: int, schedule: Schedule, plan: Plan) -> float:
    """Returns the learning rate of the update after `step` completed updates.

    Args:
        step: Completed updates, from 0. After the end of the run the rate stays constant.
        schedule: The `schedule` section.
        plan: Provides peak, warmup and length.
    """
    peak, warmup = plan.peak_learning_rate, plan.warmup_steps
    if step < warmup:
        first = warmup_start(schedule, plan)
        return first + (peak - first) * step / warmup
    if schedule.name == "constant":
        return peak
    if isinstance(schedule, StepSchedule):
        passed = sum(step >= milestone for milestone in milestone_steps(schedule, plan))
        return float(peak * schedule.factor**passed)
    done = min((step - warmup) / (plan.num_steps - warmup), 1.0)
    if isinstance(schedule, PolynomialSchedule):
        left = float((1 - done) ** schedule.power)
    else:  # Loshchilov and Hutter 2017, arXiv:1608.03983, section 3
        left = (1 + math.cos(math.pi * done)) / 2
    return peak * ((1 - schedule.final_fraction) * left + schedule.final_fraction)


def warmup_start(schedule: Schedule, plan: Plan) -> float:
    """Returns the learning rate of the first warmup step.

    By default (`schedule.warmup_from` null) the peak divided by the number of warmup steps, not
    0: a first step that changes nothing would be wasted.
    """
    if schedule.warmup_from is None:
        return plan.peak_learning_rate / plan.warmup_steps
    return plan.peak_learning_rate * schedule.warmup_from


def milestone_steps(schedule: StepSchedule, plan: Plan) -> tuple[int, ...]:
    """Returns the numbers of completed updates at which the learning rate drops."""
    return tuple(round(epochs * plan.steps_per_epoch) for epochs in schedule.milestones)


def describe_learning_rate(schedule: Schedule, plan: Plan) -> str:
    """Describes the schedule on one line: warmup, peak, scaling and decay."""
    peak = f"{plan.peak_learning_rate:g}"
    origin = (
        f" (base {schedule.base_learning_rate:g} for a batch of {schedule.base_batch_size}, "
        f"scaling {schedule.scaling}), "
    )
    warmup = ""
    if plan.warmup_steps:
        steps = f"{plan.warmup_steps:,} step{'s' if plan.warmup_steps > 1 else ''}"
        warmup = f"warmup over {steps} to "
        if schedule.warmup_from is not None:
            warmup = f"warmup over {steps} from {warmup_start(schedule, plan):g} to "
    return warmup + peak + origin + _what_follows(schedule, plan)


def _what_follows(schedule: Schedule, plan: Plan) -> str:
    if schedule.name == "constant":
        return "constant"
    if isinstance(schedule, StepSchedule):
        steps = [f"{step:,}" for step in milestone_steps(schedule, plan) if step < plan.num_steps]
        last = learning_rate_at(plan.num_steps - 1, schedule, plan)
        if not steps:
            return "constant: no milestone is reached"
        return f"then times {schedule.factor:g} at step {', '.join(steps)}, down to {last:g}"
    end = f"{plan.peak_learning_rate * schedule.final_fraction:g}"
    if isinstance(schedule, PolynomialSchedule):
        return f"then polynomial decay of power {schedule.power:g} to {end}"
    return f"then cosine decay to {end}"
