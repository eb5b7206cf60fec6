"""The page of `bench allreduce`: bus bandwidth over the size of the message."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from hvd_imgcls.bench.communication.arithmetic import size_text
from hvd_imgcls.bench.communication.work import OURS, RAW
from hvd_imgcls.workflows.report.charts import Chart, framed
from hvd_imgcls.workflows.report.page import page_text, write_page

_BOUND = "bound"
_NAMES = {OURS: "ours", RAW: "raw gloo", _BOUND: "bound: a ring over plain TCP"}


def write_plots(out_path: Path, results: Mapping[str, Any]) -> None:
    """Writes a self-contained page with one plot per number of ranks.

    Args:
        out_path: The page, HTML.
        results: Results of `bandwidths.summarize`, by name.

    Raises:
        ConfigError: If it cannot be written.
    """
    charts = [
        chart(f"bandwidth_{number}", name, summary)
        for number, (name, summary) in enumerate(results.items())
    ]
    title = "Bandwidth of allreduce"
    write_page(out_path, page_text("charts.html.j2", charts, title=title, shown=charts))


def chart(identifier: str, name: str, summary: Mapping[str, Any]) -> Chart:
    """Returns the plot for one number of ranks, with logarithmic axes.

    Args:
        identifier: Identifier in the page.
        name: Name of the run: "2 ranks".
        summary: Result of `bandwidths.summarize`.
    """
    rows = summary["sizes"]
    sizes = [row["bytes"] for row in rows]
    figure = go.Figure()
    for side, label in _NAMES.items():
        if side not in rows[0]["bus bandwidth"]:
            continue
        figure.add_scatter(
            x=sizes,
            y=[row["bus bandwidth"][side] / 1e6 for row in rows],
            name=label,
            mode="lines" if side == _BOUND else "lines+markers",
            line={"dash": "dash"} if side == _BOUND else {},
            customdata=[[size_text(row["bytes"]), 1e3 * row["seconds"][side]] for row in rows],
            hovertemplate="%{customdata[0]}: %{y:.4g} MB/s, %{customdata[1]:.4g} ms",
        )
    rate = summary["link"]["bytes per second"] / 1e6
    figure.add_scatter(
        x=[sizes[0], sizes[-1]],
        y=[rate, rate],
        name="the link over TCP",
        mode="lines",
        line={"dash": "dot"},
        hovertemplate="%{y:.4g} MB/s",
    )
    figure.update_xaxes(
        title="message", type="log", tickvals=sizes, ticktext=[size_text(one) for one in sizes]
    )
    figure.update_yaxes(title="bus bandwidth in MB/s", type="log")
    title = f"Bus bandwidth of allreduce, {name}"
    return Chart(identifier, title, f"{title}: {summary['text']}.", framed(figure))
