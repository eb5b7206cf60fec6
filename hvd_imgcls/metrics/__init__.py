"""Exact metrics over all ranks: every example counts once, on any number of ranks.

Counts are integers, and so are the ranks of scores from which ROC curves are computed. Sums of
floats are either correctly rounded (`math.fsum`) or computed in the order of the examples, and
every row is computed by a single rank. Given the same logits, the result is thus bit-identical
on any number of ranks.
"""

from hvd_imgcls.metrics.by_example import ExampleCollector
from hvd_imgcls.metrics.collecting import Collector
from hvd_imgcls.metrics.evaluation import Evaluated, evaluate
from hvd_imgcls.metrics.thresholds import ThresholdTargets

__all__ = ["Collector", "Evaluated", "ExampleCollector", "ThresholdTargets", "evaluate"]
