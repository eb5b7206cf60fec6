"""The charts of the report, as Plotly figures. Colours come from the theme of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from hvd_imgcls.run_directory.paths import EvaluationFiles, RunDir
from hvd_imgcls.workflows.report.reading import RunRecord, made_from

MOST_CURVES = 10
MOST_CLASSES_OF_MATRIX = 40
_HEIGHT = 400


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart.

    Attributes:
        name: Identifier in the page.
        title: Title.
        described: Text alternative, one sentence.
        figure: The Plotly figure.
    """

    name: str
    title: str
    described: str
    figure: go.Figure


def learning_charts(run: RunRecord) -> list[Chart]:
    """Returns loss, accuracy, learning rate, throughput and waiting times by epoch."""
    files = RunDir(run.path)
    with made_from(files.pretraining):
        before = _by_epoch(
            run.pretraining, "pretraining", "Pre-training loss", {"loss": "reconstruction"}
        )
    with made_from(files.metrics):
        charts = [before, *_of_epochs(run)]
    return [chart for chart in charts if chart is not None]


def _of_epochs(run: RunRecord) -> list[Chart | None]:
    return [
        _by_epoch(run.epochs, "loss", "Loss", {"loss": "training", "val_loss": "held out"}),
        _by_epoch(
            run.epochs, "accuracy", "Accuracy", {"accuracy": "training", "val_top1": "held out"}
        ),
        _by_epoch(run.epochs, "learning_rate", "Learning rate", {"learning_rate": "learning rate"}),
        _by_epoch(run.epochs, "throughput", "Images per second", {"images_per_second": "images/s"}),
        _by_epoch(
            run.epochs,
            "waiting",
            "Fraction of time spent waiting",
            {"data_wait_share": "for data", "rank_wait_share": "for other ranks"},
            percent=True,
        ),
        _examples_by_rank(run.epochs),
    ]


def _examples_by_rank(rows: Sequence[Mapping[str, Any]]) -> Chart | None:
    """Returns the examples of every rank, or of the extreme ones of many, if they can change."""
    shares = [row for row in rows if row.get("examples_by_rank")]
    if not shares:
        return None
    size = len(shares[0]["examples_by_rank"])
    if size <= MOST_CURVES:
        names = [f"rank {rank}" for rank in range(size)]
        numbers = [list(row["examples_by_rank"]) for row in shares]
    else:
        names = ["fewest", "most"]
        numbers = [[min(of), max(of)] for of in (row["examples_by_rank"] for row in shares)]
    by_epoch = [
        {"epoch": row["epoch"], **dict(zip(names, of, strict=True))}
        for row, of in zip(shares, numbers, strict=True)
    ]
    title = "Examples by rank"
    return _by_epoch(by_epoch, "examples", title, {name: name for name in names})


def _by_epoch(
    rows: Sequence[Mapping[str, Any]],
    name: str,
    title: str,
    series: Mapping[str, str],
    *,
    percent: bool = False,
) -> Chart | None:
    figure, sentences = go.Figure(), []
    for key, label in series.items():
        points = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]
        if not points:
            continue
        epochs, values = zip(*points, strict=True)
        figure.add_scatter(x=epochs, y=values, name=label, mode="lines+markers")
        first, last = (f"{v:.1%}" if percent else format_number(v) for v in (values[0], values[-1]))
        sentences.append(f"{label} from {first} to {last}")
    if not sentences:
        return None
    figure.update_xaxes(title="epoch")
    if percent:
        figure.update_yaxes(tickformat=".1%", rangemode="tozero")
    return Chart(name, title, f"{title} by epoch: {'; '.join(sentences)}.", framed(figure))


def confusion_chart(metrics: Mapping[str, Any]) -> Chart | None:
    """Returns the confusion matrix; with many classes, that of the most confused ones."""
    if "confusion_matrix" not in metrics:
        return None
    matrix = np.array(metrics["confusion_matrix"], np.int64)
    names = np.array(metrics["class_names"], object)
    chosen = _most_confused(matrix)
    title = "Confusion matrix"
    if len(chosen) < len(names):
        title += f" of the {len(chosen)} most confused classes"
    inside = matrix[np.ix_(chosen, chosen)]
    shares = inside / np.maximum(matrix[chosen].sum(axis=1, keepdims=True), 1)
    figure = go.Figure(
        go.Heatmap(
            z=shares,
            x=names[chosen],
            y=names[chosen],
            customdata=inside,
            zmin=0,
            zmax=1,
            showscale=False,
            text=inside if len(chosen) <= 12 else None,
            texttemplate="%{text:,}" if len(chosen) <= 12 else None,
            hovertemplate="true %{y}, predicted %{x}: %{customdata:,} (%{z:.1%})<extra></extra>",
        )
    )
    figure.update_xaxes(title="predicted", type="category")
    figure.update_yaxes(title="true class", type="category", autorange="reversed")
    right = np.trace(matrix) / max(1, matrix.sum())
    described = f"{title}: {right:.1%} of the images are on the diagonal."
    height = max(_HEIGHT, min(760, 120 + 30 * len(chosen)))
    return Chart("confusion", title, described, framed(figure, height=height))


def _most_confused(matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Returns the classes with the most errors, in their original order."""
    if len(matrix) <= MOST_CLASSES_OF_MATRIX:
        return np.arange(len(matrix))
    wrong = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * np.diagonal(matrix)
    return np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES_OF_MATRIX])


def ranking_charts(metrics: Mapping[str, Any], curves: Mapping[str, Any]) -> list[Chart]:
    """Returns ROC and precision-recall curves: micro average, and the worst classes."""
    if not curves or not metrics:
        return []
    areas = {row["name"]: row["roc_auc"] for row in metrics["per_class"]}
    shown = sorted(
        (one for one in curves["classes"] if one["roc"] is not None),
        key=lambda one: areas[one["name"]],
    )[:MOST_CURVES]
    which = "" if len(shown) == len(curves["classes"]) else f", the {len(shown)} worst classes"
    every = [{"name": "all (micro)", **curves["micro"]}, *shown]
    roc, precision = go.Figure(), go.Figure()
    for one in every:
        if one["roc"] is not None:
            _add_curve(roc, one, "roc", "false_positive_rate", "true_positive_rate")
        if one["precision_recall"] is not None:
            _add_curve(precision, one, "precision_recall", "recall", "precision")
    height = _HEIGHT + 22 * len(every) // 2
    _label(roc, "false positive rate", "true positive rate")
    _label(precision, "recall", "precision")
    macro, mean = metrics["roc_auc"]["macro"], metrics["average_precision"]["macro"]
    return [
        Chart(
            "roc",
            f"ROC curves{which}",
            f"ROC curves. The macro-average area under the curve is {_caption(macro)}.",
            framed(roc, height=height),
        ),
        Chart(
            "precision_recall",
            f"Precision-recall curves{which}",
            f"Precision-recall curves. The mean average precision is {_caption(mean)}.",
            framed(precision, height=height),
        ),
    ]


def _add_curve(figure: go.Figure, one: Mapping[str, Any], kind: str, x: str, y: str) -> None:
    thresholds = [f"{t:.4g}" if t is not None else "-" for t in one[kind]["threshold"]]
    across, up = list(one[kind][x]), list(one[kind][y])
    if kind == "precision_recall":
        # A step function from the axis, under which the area is the average precision.
        across, up, thresholds = [0.0, *across], [up[0], *up], ["-", *thresholds]
    is_all = one["name"] == "all (micro)"
    figure.add_scatter(
        x=across,
        y=up,
        name=one["name"],
        mode="lines",
        line={"width": 3 if is_all else 1.5, "shape": "linear" if kind == "roc" else "vh"},
        customdata=thresholds,
        hovertemplate=f"{x.replace('_', ' ')} %{{x:.4f}}, {y.replace('_', ' ')} %{{y:.4f}}<br>"
        "threshold %{customdata}",
    )


def _label(figure: go.Figure, x: str, y: str) -> None:
    figure.update_xaxes(title=x, range=[-0.01, 1.01])
    figure.update_yaxes(title=y, range=[-0.01, 1.02])


def calibration_chart(metrics: Mapping[str, Any]) -> Chart | None:
    """Returns the reliability diagram."""
    if "calibration" not in metrics:
        return None
    bins = [row for row in metrics["calibration"]["bins"] if row["count"]]
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], name="perfect", mode="lines", line={"dash": "dot"}, hoverinfo="skip"
    )
    figure.add_scatter(
        x=[row["confidence"] for row in bins],
        y=[row["accuracy"] for row in bins],
        name="this model",
        mode="lines+markers",
        error_y=_error_bars(bins),
        customdata=[row["count"] for row in bins],
        hovertemplate="confidence %{x:.3f}, accuracy %{y:.3f}<br>%{customdata:,} images",
    )
    _label(figure, "confidence", "accuracy")
    error = metrics["calibration"]["expected_calibration_error"]
    return Chart(
        "calibration",
        "Calibration",
        "Accuracy by confidence, with 95 % confidence intervals; the expected calibration error "
        f"is {error:.4f}.",
        framed(figure),
    )


def _error_bars(bins: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Returns the confidence intervals of the accuracies; None from earlier versions' files."""
    if any("intervals" not in row for row in bins):
        return None
    ends = [(row["accuracy"], *row["intervals"]["accuracy"]) for row in bins]
    return {
        "array": [high - value for value, _, high in ends],
        "arrayminus": [value - low for value, low, _ in ends],
        "thickness": 1,
        "width": 3,
    }


def framed(figure: go.Figure, *, height: int = _HEIGHT) -> go.Figure:
    """Applies the common layout: size, margins, legend."""
    figure.update_layout(
        height=height,
        # The tool bar is 28 pixels high and must not lie over the data.
        margin={"l": 56, "r": 12, "t": 32, "b": 76},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
        hovermode="closest",
        template="none",
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    return figure


def format_number(value: float) -> str:
    """Formats a number with four significant digits, and from 1,000 as a whole number."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _caption(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"


def all_charts(run: RunRecord) -> dict[str, Sequence[Chart]]:
    """Returns the charts of a run by section."""
    files = EvaluationFiles(run.path)
    with made_from(files.metrics):
        evaluation = [confusion_chart(run.metrics), calibration_chart(run.metrics)]
    with made_from(files.metrics, files.curves):
        rankings = ranking_charts(run.metrics, run.curves)
    return {
        "learning": learning_charts(run),
        "evaluation": [*(chart for chart in evaluation if chart is not None), *rankings],
    }
