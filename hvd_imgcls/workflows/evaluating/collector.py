"""Creates what collects the results of an evaluation."""

from __future__ import annotations

from typing import Any

from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.reading.class_sharding import evaluates_by_example
from hvd_imgcls.data import ImageSource
from hvd_imgcls.metrics import Collector, ExampleCollector
from hvd_imgcls.plan import EvaluationPlan


def make_collector(
    source: ImageSource, config: RunConfig, plan: EvaluationPlan, *, capacity: int
) -> Collector | ExampleCollector:
    """Returns what collects the results of this rank.

    Args:
        source: The images.
        config: Says whether the probabilities of all classes are needed.
        plan: The evaluation.
        capacity: Number of examples of this rank.
    """
    sizes: dict[str, Any] = {
        "num_classes": len(source.class_names),
        "num_examples": plan.num_examples,
        "averaged_classes": source.averaged_classes,
    }
    if evaluates_by_example(config):
        return ExampleCollector(**sizes)
    return Collector(**sizes, capacity=capacity)
