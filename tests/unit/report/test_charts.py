"""What the charts draw is what the figures say."""

from types import SimpleNamespace

import numpy as np
import pytest

from hvd_imgcls.distributed.single_process import SingleProcessCollectives
from hvd_imgcls.metrics import Collector, evaluate
from hvd_imgcls.metrics.curves import curves
from hvd_imgcls.workflows.report.charts import calibration_chart, format_number, ranking_charts
from hvd_imgcls.workflows.report.facts import headline

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


def test_error_bars_of_the_calibration_are_its_intervals(drawn):
    metrics, _ = drawn
    line = calibration_chart(metrics).figure.data[1]
    bins = [row for row in metrics["calibration"]["bins"] if row["count"]]
    for accuracy, below, above, row in zip(
        line.y, line.error_y.arrayminus, line.error_y.array, bins, strict=True
    ):
        ends = [accuracy - below, accuracy + above]
        assert ends == pytest.approx(row["intervals"]["accuracy"])
    # Files of earlier versions have none.
    without = [{name: row[name] for name in row if name != "intervals"} for row in bins]
    old = {"calibration": {**metrics["calibration"], "bins": without}}
    assert calibration_chart(old).figure.data[1].error_y.array is None


def test_an_interval_that_is_a_point_is_not_shown_as_one():
    intervals = {
        "level": 0.95,
        "top1": [0.9894, 1.0],
        "balanced_accuracy": [1.0, 1.0],
        "loss": [0.1, 0.2],
        "degenerate": ["balanced_accuracy"],
    }
    metrics = {"top1": 1.0, "balanced_accuracy": 1.0, "loss": 0.15, "intervals": intervals}
    run = SimpleNamespace(metrics=metrics, summary={})
    assert [(tile["name"], tile["beside"]) for tile in headline(run)] == [
        ("accuracy (top 1)", "95% CI: 0.989 to 1.000"),
        ("balanced accuracy", "no 95% CI: all resamples are equal"),
        ("loss", "95% CI: 0.100 to 0.200"),
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(10371.4, "10,371"), (999.96, "1000"), (0.051144, "0.05114"), (0.0, "0")]
)
def test_numbers_are_said_without_exponents_that_nobody_reads(value, text):
    assert format_number(value) == text
