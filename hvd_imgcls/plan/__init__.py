"""What a run will do, derived from configuration, data and ranks by plain arithmetic."""

from hvd_imgcls.plan.describe import describe
from hvd_imgcls.plan.hosts import HostShares
from hvd_imgcls.plan.making import EvaluationPlan, Plan, make_evaluation_plan, make_plan
from hvd_imgcls.plan.threads import Threads, available_cores, share_cores

__all__ = [
    "EvaluationPlan",
    "HostShares",
    "Plan",
    "Threads",
    "available_cores",
    "describe",
    "make_evaluation_plan",
    "make_plan",
    "share_cores",
]
