"""The page that compares several runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from hvd_imgcls.config.reading.differences import differences
from hvd_imgcls.files.class_lists import listed
from hvd_imgcls.workflows.report.charts import Chart, format_number, framed
from hvd_imgcls.workflows.report.page import page_text, write_page
from hvd_imgcls.workflows.report.reading import RunRecord, made_from, read_run

_SERIES = {
    "val_top1": "Held-out accuracy",
    "accuracy": "Training accuracy",
    "loss": "Training loss",
    "learning_rate": "Learning rate",
    "images_per_second": "Images per second",
}


def write_comparison(run_paths: Sequence[Path], out_path: Path) -> None:
    """Writes a page that compares runs.

    Args:
        run_paths: At least two run directories.
        out_path: The page.

    Raises:
        ConfigError: If one is not a run directory, or a file in it is damaged.
    """
    runs = [read_run(path) for path in run_paths]
    names = _distinct_names(runs, run_paths)
    with made_from(*run_paths):
        charts = [chart for key in _SERIES if (chart := _chart(key, runs, names)) is not None]
        text = page_text(
            "comparison.html.j2",
            charts,
            title=f"{len(runs)} runs",
            learning=charts,
            rows=[_row(run, name) for run, name in zip(runs, names, strict=True)],
            names=names,
            differences=differences([run.config for run in runs]),
            warnings=_warnings(runs, names),
        )
    write_page(out_path, text)


def _distinct_names(runs: Sequence[RunRecord], paths: Sequence[Path]) -> list[str]:
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _chart(key: str, runs: Sequence[RunRecord], names: Sequence[str]) -> Chart | None:
    figure, sentences = go.Figure(), []
    for run, name in zip(runs, names, strict=True):
        points = [(row["epoch"], row[key]) for row in run.epochs if row.get(key) is not None]
        if points:
            epochs, values = zip(*points, strict=True)
            figure.add_scatter(x=epochs, y=values, name=name, mode="lines+markers")
            sentences.append(f"{name} ends at {format_number(values[-1])}")
    if not sentences:
        return None
    figure.update_xaxes(title="epoch")
    return Chart(key, _SERIES[key], f"By epoch: {'; '.join(sentences)}.", framed(figure))


def _row(run: RunRecord, name: str) -> dict[str, Any]:
    metrics, summary, plan = run.metrics, run.summary, run.plan
    return {
        "name": name,
        "top1": metrics.get("top1"),
        "intervals": {"top1": metrics.get("intervals", {}).get("top1")},
        "loss": metrics.get("loss"),
        "roc_auc": (metrics.get("roc_auc") or {}).get("macro"),
        "size": plan.get("size"),
        "num_steps": plan.get("num_steps"),
        "images_per_second": summary.get("images_per_second"),
        "minutes": summary["seconds"]["total"] / 60 if summary else None,
    }


def _warnings(runs: Sequence[RunRecord], names: Sequence[str]) -> list[str]:
    """Returns what makes the metrics of the runs incomparable, as sentences."""
    evaluated = [(run, name) for run, name in zip(runs, names, strict=True) if run.metrics]
    found = []
    for run, name in evaluated[1:]:
        first, first_name = evaluated[0]
        of_first, of_run = first.metrics.get("class_names", []), run.metrics.get("class_names", [])
        if of_first != of_run:
            found.append(
                f"{name} has other classes ({listed(of_run)}) than {first_name} "
                f"({listed(of_first)}): their metrics are not comparable."
            )
        elif _images_of(first) != _images_of(run):
            found.append(f"{name} has other training or held-out images than {first_name}.")
    return found


def _images_of(run: RunRecord) -> tuple[Any, ...]:
    """Returns what identifies the images of a run: the held-out ones' number, a hash if known."""
    fingerprint = run.launches[0].get("data_fingerprint") if run.launches else None
    return run.metrics.get("num_examples"), fingerprint
