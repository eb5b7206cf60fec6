"""`report.html` of one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from hvd_imgcls.run_directory.paths import EvaluationFiles, RunDir
from hvd_imgcls.workflows.report.charts import Chart, all_charts
from hvd_imgcls.workflows.report.facts import (
    headline,
    slices_tables,
    table_of_classes,
    what_was_run,
)
from hvd_imgcls.workflows.report.node_charts import node_charts
from hvd_imgcls.workflows.report.node_lines import read_windows
from hvd_imgcls.workflows.report.page import page_text, write_page
from hvd_imgcls.workflows.report.reading import RunRecord, made_from, read_run


def write_report(run_path: Path, out_path: Path) -> None:
    """Writes the report on a run: one file that works offline.

    Args:
        run_path: Directory of a finished run or of one in progress.
        out_path: The page.

    Raises:
        ConfigError: If it is not a run directory, or a file in it is damaged.
    """
    run = read_run(run_path)
    files, evaluation = RunDir(run_path), EvaluationFiles(run_path)
    charts = charts_by_section(run)
    with made_from(evaluation.metrics, files.summary):
        tiles = headline(run)
    with made_from(files.launches, files.config, files.plan):
        facts = what_was_run(run)
    with made_from(evaluation.metrics):
        galleries = _galleries(run)
    with made_from(run_path):
        text = page_text(
            "run.html.j2",
            [chart for section in charts.values() for chart in section],
            title=run.name,
            headline=tiles,
            facts=facts,
            learning=charts["learning"],
            evaluation=charts["evaluation"],
            nodes=charts["nodes"],
            classes=table_of_classes(run.metrics),
            slices=slices_tables(run.metrics),
            galleries=galleries,
            first_batch=run.first_batch,
            reconstructions=run.reconstructions,
            launches=run.launches,
            quarantined=run.quarantined,
            config=yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True),
        )
    write_page(out_path, text)


def charts_by_section(run: RunRecord) -> dict[str, Sequence[Chart]]:
    """Returns the charts of a run by section of the page.

    Raises:
        ConfigError: If a file is damaged.
    """
    nodes = RunDir(run.path).nodes
    with made_from(nodes):
        return {**all_charts(run), "nodes": node_charts(read_windows(nodes))}


def _galleries(run: RunRecord) -> list[dict[str, Any]]:
    """Returns the galleries of images, as far as there are pictures of them."""
    titles = {
        "most_confident_mistakes": "Most confident errors",
        "least_confident_hits": "Least confident correct predictions",
    }
    galleries = []
    for name, title in titles.items():
        rows = [
            {**row, "picture": run.pictures.get(str(row["example"]))}
            for row in run.metrics.get(name, ())
        ]
        if rows:
            galleries.append({"title": title, "rows": rows})
    return galleries
