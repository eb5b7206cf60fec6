"""Charts of the use of the hosts over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from hvd_imgcls.text.numbers import bytes_text, percent
from hvd_imgcls.workflows.report.charts import Chart, format_number, framed
from hvd_imgcls.workflows.report.node_lines import Window

MOST_HOSTS = 12
"""Of more hosts, the lowest, the mean and the highest value are drawn instead."""

Read = Callable[[Mapping[str, Any]], float | None]


@dataclass(frozen=True, slots=True)
class _Quantity:
    """What a chart draws.

    Attributes:
        name: Identifier of the chart.
        title: Its title.
        series: What is drawn for every host, by label; "" for the only one.
        axis: Settings of the vertical axis.
        text: Formats a value.
    """

    name: str
    title: str
    series: Mapping[str, Read]
    axis: Mapping[str, Any]
    text: Callable[[float], str]


def _key(key: str) -> Read:
    def read(line: Mapping[str, Any]) -> float | None:
        value = line.get(key)
        return None if value is None else float(value)

    return read


def _mean_of_gpus(key: str) -> Read:
    def read(line: Mapping[str, Any]) -> float | None:
        known = [float(gpu[key]) for gpu in line.get("gpus", ()) if gpu.get(key) is not None]
        return sum(known) / len(known) if known else None

    return read


_SHARE = {"tickformat": ".0%", "range": [0, 1.02]}
_BYTES = {"tickformat": ".3~s", "ticksuffix": "B", "rangemode": "tozero"}
_LEAST_BYTES = 1000
_RATE = {**_BYTES, "ticksuffix": "B/s"}


def _rate(value: float) -> str:
    return f"{bytes_text(value)}/s"


_QUANTITIES = (
    _Quantity("node_cpu", "CPU use", {"": _key("cpu_share")}, _SHARE, percent),
    _Quantity(
        "node_load",
        "Load average of one minute",
        {"": _key("load")},
        {"rangemode": "tozero"},
        format_number,
    ),
    _Quantity(
        "node_memory",
        "Memory in use",
        {"": _key("memory_used_bytes")},
        _BYTES,
        bytes_text,
    ),
    _Quantity(
        "node_network",
        "Network",
        {
            "in": _key("network_in_bytes_per_second"),
            "out": _key("network_out_bytes_per_second"),
        },
        _RATE,
        _rate,
    ),
    _Quantity(
        "node_disk",
        "Disks",
        {
            "read": _key("disk_read_bytes_per_second"),
            "write": _key("disk_write_bytes_per_second"),
        },
        _RATE,
        _rate,
    ),
    _Quantity("node_gpu", "GPU use, mean of a host", {"": _mean_of_gpus("share")}, _SHARE, percent),
    _Quantity(
        "node_gpu_memory",
        "GPU memory in use, mean of a host",
        {"": _mean_of_gpus("memory_used_bytes")},
        _BYTES,
        bytes_text,
    ),
)


def node_charts(windows: Sequence[Window]) -> list[Chart]:
    """Returns the charts of what is known of the hosts.

    Args:
        windows: Lines of `nodes.jsonl`, by window.
    """
    charts = [_chart(quantity, windows) for quantity in _QUANTITIES]
    return [chart for chart in charts if chart is not None]


def _chart(quantity: _Quantity, windows: Sequence[Window]) -> Chart | None:
    figure, sentences, largest = go.Figure(), [], 0.0
    for label, read in quantity.series.items():
        for name, (times, values) in _curves(windows, read).items():
            full_name = f"{name} {label}".strip()
            largest = max(largest, *values)
            figure.add_scatter(x=times, y=values, name=full_name, mode="lines")
            mean = quantity.text(sum(values) / len(values))
            sentences.append(f"{full_name} {mean}")
    if not sentences:
        return None
    figure.update_xaxes(title="time, UTC", type="date")
    figure.update_yaxes(**quantity.axis)
    if quantity.axis.get("tickformat") == _BYTES["tickformat"] and largest < _LEAST_BYTES:
        # Of an idle device, the axis would be divided into thousandths of a byte.
        figure.update_yaxes(range=[0, _LEAST_BYTES])
    figure.update_layout(showlegend=True)
    described = f"{quantity.title}, means of the points: {'; '.join(sentences)}."
    return Chart(
        quantity.name,
        quantity.title,
        described,
        framed(figure, height=400 + 11 * len(sentences)),
    )


def _curves(windows: Sequence[Window], read: Read) -> dict[str, tuple[list[str], list[float]]]:
    """Returns times and values by host; of many hosts, by "lowest", "mean" and "highest"."""
    hosts = {str(line.get("host")) for window in windows for line in window}
    curves: dict[str, tuple[list[str], list[float]]] = {}
    for window in windows:
        known = {
            str(line.get("host")): value for line in window if (value := read(line)) is not None
        }
        if len(hosts) > MOST_HOSTS and known:
            values = list(known.values())
            known = {
                "lowest": min(values),
                "mean": sum(values) / len(values),
                "highest": max(values),
            }
        for name, value in known.items():
            times, drawn = curves.setdefault(name, ([], []))
            times.append(str(window[0].get("time")))
            drawn.append(value)
    return curves
