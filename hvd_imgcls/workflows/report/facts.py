"""Text and numbers of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hvd_imgcls.run_directory.status import State
from hvd_imgcls.text.numbers import duration
from hvd_imgcls.workflows.report.reading import RunRecord

Rows = list[tuple[str, str]]


def headline(run: RunRecord) -> list[dict[str, str]]:
    """Returns the headline metrics: name, value, and a note."""
    metrics, summary = run.metrics, run.summary
    tiles: list[dict[str, str]] = []
    names = {
        "top1": "accuracy (top 1)",
        "top5": "top 5",
        "balanced_accuracy": "balanced accuracy",
        "loss": "loss",
    }
    for key, name in names.items():
        if metrics.get(key) is not None:
            alternative = _interval(metrics, key)
            tiles.append({"name": name, "value": f"{metrics[key]:.4f}", "beside": alternative})
    areas = metrics.get("roc_auc")
    if areas and areas["macro"] is not None:
        alternative = _interval(metrics, "roc_auc")
        tiles.append(
            {"name": "ROC AUC (macro)", "value": f"{areas['macro']:.4f}", "beside": alternative}
        )
    if "calibration" in metrics:
        error = metrics["calibration"]["expected_calibration_error"]
        tiles.append({"name": "calibration error", "value": f"{error:.4f}", "beside": "15 bins"})
    if summary:
        text = duration(summary["seconds"]["total"])
        alternative = f"{summary['images_per_second']:,.0f} images/s"
        tiles.append({"name": "time", "value": text, "beside": alternative})
    return tiles


def _interval(metrics: Mapping[str, Any], key: str) -> str:
    intervals = metrics.get("intervals", {})
    ends = intervals.get(key)
    if ends is None:
        return ""
    name = f"{intervals['level']:.0%} CI"
    # Earlier versions did not list them.
    if key in intervals.get("degenerate", ()) or ends[0] == ends[1]:
        return f"no {name}: all resamples are equal"
    return f"{name}: {ends[0]:.3f} to {ends[1]:.3f}"


def what_was_run(run: RunRecord) -> Rows:
    """Returns the facts about the run, as names and values."""
    plan, config = run.plan, run.config
    rows: Rows = [("state", run.status.text)]
    if run.launches:
        last = run.launches[-1]
        sizes = [str(launch["size"]) for launch in run.launches]
        rows += [
            ("command", last["command"]),
            ("ranks", ", then ".join(sizes)),
            ("data fingerprint", last["data_fingerprint"]),
        ]
    rows += [
        ("model", str(config.get("model", {}).get("name"))),
        ("data", _data(config)),
        ("optimizer", _name_and(config.get("optimizer", {}))),
        ("schedule", _name_and(config.get("schedule", {}))),
        ("precision", str(config.get("train", {}).get("precision"))),
    ]
    if plan:
        rows += [
            ("training images", f"{plan['num_train_examples']:,}"),
            ("held-out images", f"{plan['evaluation']['num_examples']:,}"),
            ("classes", f"{plan['num_classes']:,}"),
            ("global batch size", f"{plan['global_batch_size']:,}"),
            ("steps", _steps(run)),
            ("seed", str(plan["seed"])),
        ]
    return rows


def _steps(run: RunRecord) -> str:
    plan = run.plan
    planned = f"{plan['num_steps']:,} ({plan['num_epochs']} epochs)"
    if run.status.state is State.FINISHED:
        return planned
    return f"{len(run.epochs)} complete epochs so far, of {planned}"


def _data(config: Mapping[str, Any]) -> str:
    source = config.get("data", {}).get("source", {})
    path = source.get("path")
    return f"{source.get('name')}, {path}" if path else str(source.get("name"))


def _name_and(section: Mapping[str, Any]) -> str:
    keys = ("base_learning_rate", "momentum", "weight_decay")
    values = [f"{key.replace('_', ' ')} {section[key]:g}" for key in keys if section.get(key)]
    return ", ".join([str(section.get("name")), *values])


def table_of_classes(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns one row per class."""
    columns = ("support", "precision", "recall", "f1", "roc_auc", "average_precision")
    return [
        {
            "name": row["name"],
            **{name: row.get(name) for name in columns},
            "intervals": row.get("intervals", {}),
        }
        for row in metrics.get("per_class", ())
    ]


def slices_tables(metrics: Mapping[str, Any]) -> list[tuple[str, Sequence[Mapping[str, Any]]]]:
    """Returns the rows of every column that defines slices."""
    return list(metrics.get("slices", {}).items())
