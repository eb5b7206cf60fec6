"""Gathers what the ranks have collected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from hvd_imgcls.distributed import Collectives
from hvd_imgcls.errors import BadImagesError
from hvd_imgcls.metrics.by_example import ExampleCollector
from hvd_imgcls.metrics.collecting import Collector
from hvd_imgcls.metrics.examples import Examples
from hvd_imgcls.metrics.intervals import ResampledAuc
from hvd_imgcls.metrics.one_class import MicroCounter, OneClass, rank_class
from hvd_imgcls.metrics.ranking import Ranking
from hvd_imgcls.metrics.slices import Grouping, areas_by_group
from hvd_imgcls.metrics.transpose import classes_over_ranks, gather_rows

Integers = npt.NDArray[np.int64]

_MAX_RESAMPLED = 10**6
"""With more probabilities, ROC AUC gets no confidence interval, which would take minutes."""


@dataclass(frozen=True, slots=True)
class Rankings:
    """Rankings of the examples by probability.

    Attributes:
        classes: One-vs-rest ranking of each class, in order.
        micro: Ranking of all pairs of example and class (micro average).
        areas_by_group: For every grouping, areas under the ROC curve by class and group.
        resampled: This rank's classes, for the areas of resamples; None if there are too many.
    """

    classes: list[OneClass]
    micro: Ranking
    areas_by_group: list[list[list[float | None]]]
    resampled: dict[int, ResampledAuc] | None


def gather_examples(collector: Collector | ExampleCollector, collectives: Collectives) -> Examples:
    """Returns the examples of all ranks, in order. Collective: every rank must call this.

    Raises:
        RuntimeError: If an example was not collected exactly once: a bug in this package.
        BadImagesError: If no example could be decoded.
    """
    local = collector.examples()
    examples = Examples(
        *(
            gather_rows(collectives, field.name, getattr(local, field.name))
            for field in fields(local)
        )
    ).in_order()
    unreadable = collectives.sum_arrays("metrics.unreadable", collector.times_unreadable)
    times = np.bincount(examples.numbers, minlength=collector.num_examples) + unreadable
    wrong = np.flatnonzero(times != 1)
    if len(wrong):
        raise RuntimeError(
            f"{len(wrong)} examples were not counted exactly once, the first is "
            f"{wrong[0]}, counted {times[wrong[0]]} times"
        )
    if not len(examples):
        raise BadImagesError(
            f"none of the {len(times):,} held-out images can be read; `hvd-imgcls check-data` "
            "says why"
        )
    return examples


def gather_rankings(
    collector: Collector,
    examples: Examples,
    collectives: Collectives,
    groupings: Sequence[Grouping] = (),
) -> Rankings:
    """Returns the rankings of the examples. Collective: every rank must call this.

    Args:
        collector: Predictions that this rank has collected; finite.
        examples: Results of all ranks' examples, in order.
        collectives: Communication between the ranks.
        groupings: Slices of the examples.
    """
    num_classes, averaged = collector.num_classes, collector.averaged_classes
    # In the order in which the ranks hold them, rank by rank.
    numbers = gather_rows(collectives, "numbers", collector.examples().numbers)
    places = np.searchsorted(examples.numbers, numbers)
    labels = examples.labels[places]
    support = np.bincount(labels, minlength=num_classes)
    micro = MicroCounter(examples.probabilities)
    resampled: dict[int, ResampledAuc] = {}
    is_small = num_classes * len(examples) <= _MAX_RESAMPLED
    local: dict[int, dict[str, Any]] = {}
    for number, scores in classes_over_ranks(collectives, collector.scores):
        is_positive = labels == number
        if averaged is None or number in averaged:
            micro.add(scores)
        local[number] = {
            "class": _to_json(rank_class(number, scores, labels, support)),
            "areas": [
                areas_by_group(scores, is_positive, group.places[places], len(group.values))
                for group in groupings
            ],
        }
        if is_small:
            # In the order of the examples, like the resamples.
            in_order = np.argsort(places)
            resampled[number] = ResampledAuc(scores[in_order], is_positive[in_order])
    counts = collectives.sum_arrays("metrics.micro", micro.counts)
    by_class = {int(n): one for part in collectives.gather_json(local) for n, one in part.items()}
    rows = [by_class[number] for number in range(num_classes)]
    return Rankings(
        classes=[_from_json(row["class"]) for row in rows],
        micro=micro.ranking(counts),
        areas_by_group=[[row["areas"][index] for row in rows] for index in range(len(groupings))],
        resampled=resampled if is_small else None,
    )


def _to_json(one: OneClass) -> dict[str, Any]:
    ranking = {
        field.name: value.tolist() if isinstance(value, np.ndarray) else value
        for field in fields(Ranking)
        for value in [getattr(one.ranking, field.name)]
    }
    return {"ranking": ranking, "auc_against": one.auc_against}


def _from_json(value: Mapping[str, Any]) -> OneClass:
    ranking: dict[str, Any] = {
        name: np.array(content, np.float64 if name == "scores" else np.int64)
        if isinstance(content, list)
        else content
        for name, content in value["ranking"].items()
    }
    return OneClass(Ranking(**ranking), value["auc_against"])
