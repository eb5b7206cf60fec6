"""Started by `bench evaluate`: ROC AUC by this package or scikit-learn, and its memory."""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

NUM_EXAMPLES, NUM_CLASSES = 50_000, 1000
_CLASSES_AT_A_TIME = 32


def make_scores() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Returns synthetic labels `[examples]` and probabilities `[examples, classes]`."""
    random = np.random.default_rng(0)
    labels = random.integers(0, NUM_CLASSES, NUM_EXAMPLES)
    probabilities = random.standard_normal((NUM_EXAMPLES, NUM_CLASSES), np.float64)
    probabilities[np.arange(NUM_EXAMPLES), labels] += 3
    np.exp(probabilities, out=probabilities)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return labels, probabilities


def area_alone(labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]) -> Any:
    """Computes the metric of scikit-learn's arm, from the same array, by our code, and no other."""
    from hvd_imgcls.metrics.ranking import rank, roc_auc

    areas = []
    for first in range(0, NUM_CLASSES, _CLASSES_AT_A_TIME):
        columns = np.ascontiguousarray(probabilities[:, first : first + _CLASSES_AT_A_TIME].T)
        for number, scores in enumerate(columns, start=first):
            areas.append(roc_auc(rank(scores[labels == number], scores)))
    return math.fsum(area for area in areas if area is not None) / len(areas)


def ours(labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]) -> Any:
    """Collects the probabilities, computes all metrics of an evaluation and returns one of them."""
    from hvd_imgcls.distributed.single_process import SingleProcessCollectives
    from hvd_imgcls.metrics import Collector, evaluate

    collector = Collector(num_classes=NUM_CLASSES, num_examples=NUM_EXAMPLES, capacity=NUM_EXAMPLES)
    for first in range(0, NUM_EXAMPLES, 64):
        block = np.arange(first, min(first + 64, NUM_EXAMPLES))
        collector.add_probabilities(block, labels[block], probabilities[block])
    names = [str(number) for number in range(NUM_CLASSES)]
    result = evaluate(collector, names, SingleProcessCollectives(), with_intervals=False)
    return result.metrics["roc_auc"]["macro"]


def theirs(labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]) -> Any:
    """Returns the macro-average area, one-vs-rest."""
    from sklearn.metrics import roc_auc_score

    return roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")


def main(words: list[str]) -> None:
    """Writes seconds, the area and the memory used in addition to the scores."""
    result, arm = words
    labels, probabilities = make_scores()
    compute = {"ours": ours, "area alone": area_alone, "scikit-learn": theirs}[arm]
    # Imports are not measured: a few examples first.
    compute_imports(arm)
    before = _peak_bytes()
    begin = time.perf_counter()
    area = compute(labels, probabilities)
    record = {
        "seconds": time.perf_counter() - begin,
        "area": float(area),
        "added_bytes": _peak_bytes() - before,
        "score_bytes": probabilities.nbytes,
    }
    Path(result).write_text(json.dumps(record), encoding="utf-8")


def compute_imports(arm: str) -> None:
    """Imports the modules that the arm needs."""
    if arm != "scikit-learn":
        import hvd_imgcls.distributed.single_process
        import hvd_imgcls.metrics  # noqa: F401
    else:
        import sklearn.metrics  # noqa: F401


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(sys.argv[1:])
