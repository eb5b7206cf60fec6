"""What the charts draw is what the figures say."""

import numpy as np
import pytest

from hvd_imgcls.distributed.single_process import SingleProcessCollectives
from hvd_imgcls.metrics import Collector, evaluate
from hvd_imgcls.metrics.curves import curves
from hvd_imgcls.workflows.report.charts import format_number, ranking_charts

NAMES = ("cat", "dog", "newt")


@pytest.fixture(scope="module")
def drawn():
    """The figures of made-up predictions with ties, and the charts by name."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 80)
    logits = np.round(random.normal(size=(80, 3)) + np.eye(3)[labels], 1)
    collector = Collector(num_classes=3, num_examples=80, capacity=80)
    collector.add(np.arange(80), labels, logits.astype(np.float32))
    evaluated = evaluate(collector, NAMES, SingleProcessCollectives(), with_intervals=False)
    charts = ranking_charts(evaluated.metrics, curves(evaluated.rankings, NAMES))
    return evaluated.metrics, {chart.name: chart.figure for chart in charts}


@pytest.mark.parametrize("name", NAMES)
def test_areas_under_the_lines_are_the_figures(drawn, name):
    metrics, charts = drawn
    row = next(row for row in metrics["per_class"] if row["name"] == name)
    (roc,) = (line for line in charts["roc"].data if line.name == name)
    assert roc.line.shape == "linear"
    assert np.trapezoid(roc.y, roc.x) == pytest.approx(row["roc_auc"], rel=1e-12)
    (precision,) = (line for line in charts["precision_recall"].data if line.name == name)
    # First up or down, then across.
    assert precision.line.shape == "vh"
    area = np.sum(np.diff(precision.x) * np.array(precision.y)[1:])
    assert area == pytest.approx(row["average_precision"], rel=1e-12)
    assert len(precision.customdata) == len(precision.x) == len(precision.y)


@pytest.mark.parametrize(
    ("value", "text"), [(10371.4, "10,371"), (999.96, "1000"), (0.051144, "0.05114"), (0.0, "0")]
)
def test_numbers_are_said_without_exponents_that_nobody_reads(value, text):
    assert format_number(value) == text
