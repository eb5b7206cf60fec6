"""Figures of a part are those of an evaluation of that part alone."""

import numpy as np
import pytest

from hvd_imgcls.distributed.single_process import SingleProcessCollectives
from hvd_imgcls.metrics import Collector, evaluate
from hvd_imgcls.metrics.worst import notable_examples

NAMES = ("a", "b", "c", "d", "e", "f")


def evaluated(labels, logits, **options):
    number = len(labels)
    collector = Collector(num_classes=len(NAMES), num_examples=number, capacity=number)
    collector.add(np.arange(number), labels, logits)
    return evaluate(collector, NAMES, SingleProcessCollectives(), with_intervals=False, **options)


@pytest.fixture(scope="module")
def outputs():
    random = np.random.default_rng(0)
    labels = random.integers(0, len(NAMES), 90)
    return labels, random.normal(size=(90, len(NAMES))).astype(np.float32).round(1)


def test_every_value_has_the_figures_of_its_examples_alone(outputs):
    labels, logits = outputs
    # In the third part some classes have no example.
    place = np.where(labels < 3, np.arange(90) % 3, np.arange(90) % 2)
    cameras = [("new", "old", None)[p] for p in place]
    metrics = evaluated(labels, logits, columns={"camera": cameras}).metrics
    rows = metrics["slices"]["camera"]
    assert [row["value"] for row in rows] == ["new", "old", None]
    for row in rows:
        inside = np.array([camera == row["value"] for camera in cameras])
        alone = evaluated(labels[inside], logits[inside]).metrics
        assert row["num_examples"] == inside.sum()
        for name in ("loss", "top1", "top5", "balanced_accuracy"):
            assert row[name] == alone[name]
        assert row["macro_f1"] == alone["averages"]["macro"]["f1"]
        assert row["roc_auc"] == pytest.approx(alone["roc_auc"]["macro"], abs=1e-15)
        error = alone["calibration"]["expected_calibration_error"]
        assert row["expected_calibration_error"] == error


def test_without_columns_there_are_no_slices(outputs):
    assert "slices" not in evaluated(*outputs).metrics


def test_worst_mistakes_and_hits_come_first(outputs):
    examples = evaluated(*outputs).examples
    worst = notable_examples(examples, NAMES, lambda number: f"{number}.png", count=7)
    wrong, right = worst["most_confident_mistakes"], worst["least_confident_hits"]
    for rows, is_wanted, sign in (
        (wrong, ~examples.is_correct, -1),
        (right, examples.is_correct, 1),
    ):
        confidences = sorted(examples.confidences[is_wanted], key=lambda c: sign * c)[:7]
        assert [row["confidence"] for row in rows] == confidences
        for row in rows:
            assert row["image"] == f"{row['example']}.png"
            assert row["label"] == NAMES[outputs[0][row["example"]]]
            assert (row["label"] == row["predicted"]) == (sign == 1)
