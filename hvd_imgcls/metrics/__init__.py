"""Exact metrics over all ranks: every example once, the same digits on any number of ranks.

Counts are integers, and so are the ranks of scores that ROC curves are made of. What is a sum
of floating point numbers is either correctly rounded (`math.fsum`) or taken in the order of the
examples. Every row is computed by one rank alone. So, given the same logits, the result has the
same bytes on any number of ranks.
"""

from hvd_imgcls.metrics.collecting import Collector
from hvd_imgcls.metrics.evaluation import Evaluated, evaluate

__all__ = ["Collector", "Evaluated", "evaluate"]
