"""The charts of the use of hosts."""

from __future__ import annotations

import itertools
import json

import pytest

from hvd_imgcls.workflows.report.node_charts import MOST_HOSTS, node_charts
from hvd_imgcls.workflows.report.node_lines import MOST_WINDOWS, read_windows


def line(window, host, **changes):
    return {
        "time": f"2026-11-29T{window // 3600:02}:{window // 60 % 60:02}:{window % 60:02}+00:00",
        "phase": "training",
        "epoch": 1,
        "step": window,
        "host": f"host{host}",
        "cpu_share": 0.25 * host,
        "load": 1.5,
        "memory_used_bytes": 10**9 * (host + 1),
        "network_in_bytes_per_second": 0,
        "network_out_bytes_per_second": 0,
        "disk_read_bytes_per_second": 5_000_000,
        "disk_write_bytes_per_second": None,
        **changes,
    }


def write(path, lines):
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


def drawn(path):
    return {chart.name: chart for chart in node_charts(read_windows(path))}


def test_every_host_has_a_curve(tmp_path):
    gpus = [{"share": 0.5, "memory_used_bytes": 10, "memory_total_bytes": 20}, {"share": 1.0}]
    lines = [line(w, h, gpus=gpus if h else []) for w in range(3) for h in range(2)]
    charts = drawn(write(tmp_path / "nodes.jsonl", lines))
    cpu = charts["node_cpu"]
    assert {curve.name: list(curve.y) for curve in cpu.figure.data} == {
        "host0": [0.0] * 3,
        "host1": [0.25] * 3,
    }
    assert list(cpu.figure.data[0].x) == [one["time"] for one in lines[::2]]
    assert cpu.described == "CPU use, means of the points: host0 0 %; host1 25 %."
    assert [curve.name for curve in charts["node_network"].figure.data] == [
        "host0 in",
        "host1 in",
        "host0 out",
        "host1 out",
    ]
    # An idle network has an axis that can be read.
    assert list(charts["node_network"].figure.layout.yaxis.range) == [0, 1000]
    # What is unknown is not drawn.
    assert [curve.name for curve in charts["node_disk"].figure.data] == ["host0 read", "host1 read"]
    assert [(c.name, c.y[0]) for c in charts["node_gpu"].figure.data] == [("host1", 0.75)]


def test_of_many_hosts_the_extremes_and_the_mean_are_drawn(tmp_path):
    num_hosts = MOST_HOSTS + 1
    lines = [line(w, h) for w in range(2) for h in range(num_hosts)]
    charts = drawn(write(tmp_path / "nodes.jsonl", lines))
    assert {curve.name: curve.y[0] for curve in charts["node_memory"].figure.data} == {
        "lowest": 1e9,
        "mean": pytest.approx(1e9 * (num_hosts + 1) / 2),
        "highest": 1e9 * num_hosts,
    }


def test_of_a_long_run_evenly_spaced_windows_are_drawn(tmp_path):
    count = 5 * MOST_WINDOWS
    lines = [line(w, h) for w in range(count) for h in range(2)]
    windows = read_windows(write(tmp_path / "nodes.jsonl", lines))
    steps = [window[0]["step"] for window in windows]
    assert MOST_WINDOWS <= len(steps) <= 2 * MOST_WINDOWS
    assert {later - first for first, later in itertools.pairwise(steps)} == {4}
    assert all(len(window) == 2 for window in windows)


def test_half_a_line_of_a_killed_process_is_left_out(tmp_path):
    path = write(tmp_path / "nodes.jsonl", [line(0, 0), line(1, 0)])
    path.write_bytes(path.read_bytes()[:-20])
    assert len(read_windows(path)) == 1


def test_a_run_without_the_file_has_no_charts(tmp_path):
    assert node_charts(read_windows(tmp_path / "nodes.jsonl")) == []
