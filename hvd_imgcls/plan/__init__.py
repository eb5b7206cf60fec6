"""Derives what a run will do from configuration, data and ranks, in plain Python."""

from hvd_imgcls.plan.arithmetic import balanced_class_weights
from hvd_imgcls.plan.describe import describe_plan
from hvd_imgcls.plan.hosts import HostShares
from hvd_imgcls.plan.learning_rate import learning_rate_at, milestone_steps, warmup_start
from hvd_imgcls.plan.making import EvaluationPlan, Plan, make_evaluation_plan, make_plan
from hvd_imgcls.plan.threads import Threads, available_cores, share_cores, within_quota

__all__ = [
    "EvaluationPlan",
    "HostShares",
    "Plan",
    "Threads",
    "available_cores",
    "balanced_class_weights",
    "describe_plan",
    "learning_rate_at",
    "make_evaluation_plan",
    "make_plan",
    "milestone_steps",
    "share_cores",
    "warmup_start",
    "within_quota",
]
