"""The use of hosts and ranks as JSON: the contents of `nodes.jsonl` and `progress.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hvd_imgcls.environment.host.usage import GpuUsage
from hvd_imgcls.workflows.progress.entries import as_json
from hvd_imgcls.workflows.progress.lines import TrainingStatus
from hvd_imgcls.workflows.progress.nodes.exchange import Usage
from hvd_imgcls.workflows.progress.nodes.hosts import Host
from hvd_imgcls.workflows.progress.waiting import Floats

MOST_CURVES = 16
"""Number of hosts that have curves of their own in TensorBoard."""


def host_values(host: Host, index: int, usage: Usage) -> dict[str, Any]:
    """Returns the use of a host and its ranks; see docs/run-directory.md.

    Args:
        host: The host.
        index: Its number.
        usage: The use of all hosts and ranks.
    """
    of_host, ranks = usage.hosts[index], list(host.ranks)
    values: dict[str, Any] = {
        "host": host.name,
        "ranks": ranks,
        "seconds": _rounded(of_host.seconds, 2),
        "cores": _whole(of_host.num_cores),
        "cpu_share": _rounded(of_host.cpu_share, 4),
        "load": _rounded(of_host.load, 2),
        "memory_total_bytes": _whole(of_host.memory_total_bytes),
        "memory_used_bytes": _whole(of_host.memory_used_bytes),
        "memory_available_bytes": _whole(of_host.memory_available_bytes),
        "network_in_bytes_per_second": _whole(of_host.network_in),
        "network_out_bytes_per_second": _whole(of_host.network_out),
        "disk_read_bytes_per_second": _whole(of_host.disk_read),
        "disk_write_bytes_per_second": _whole(of_host.disk_write),
        "rank_cores": [_rounded(usage.cores[rank], 2) for rank in ranks],
        "rank_memory_bytes": [_whole(usage.memory_bytes[rank]) for rank in ranks],
    }
    if of_host.gpus:
        values["gpus"] = [_gpu_values(gpu) for gpu in of_host.gpus]
    return values


def _gpu_values(gpu: GpuUsage) -> dict[str, Any]:
    return {
        "share": _rounded(gpu.share, 4),
        "memory_used_bytes": _whole(gpu.memory_used_bytes),
        "memory_total_bytes": _whole(gpu.memory_total_bytes),
    }


def rank_values(
    hosts: Sequence[Host], usage: Usage, parts: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """Returns the use and the waiting of every rank, by rank.

    Args:
        hosts: The hosts.
        usage: The use of all hosts and ranks.
        parts: Examples of every rank in the last step, if they can change.
    """
    names = {rank: host.name for host in hosts for rank in host.ranks}
    times = usage.times
    return [
        {
            "rank": rank,
            "host": names[rank],
            "data_wait_share": _share(times.data_seconds, times.seconds, rank),
            "rank_wait_share": _share(times.rank_seconds, times.seconds, rank),
            "cores": _rounded(usage.cores[rank], 2),
            "memory_bytes": _whole(usage.memory_bytes[rank]),
            **({"examples": parts[rank]} if parts else {}),
        }
        for rank in range(usage.size)
    ]


def training_values(status: TrainingStatus) -> dict[str, Any]:
    """Returns the position and the metrics of a phase."""
    speed, left = status.images_per_second, status.seconds_left
    return {
        "epoch": status.epoch,
        "num_epochs": status.num_epochs,
        "step": status.step,
        "num_steps": status.num_steps,
        "metrics": {
            name: value
            for name, value in as_json(status.logs).items()
            if isinstance(value, int | float)
        },
        "metrics_are_of_root": status.is_of_this_rank,
        "images_per_second": None if speed is None else _rounded(speed, 1),
        "seconds_left": None if left is None else _rounded(left, 1),
    }


def curves_of_hosts(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns a number for every curve, by its name: a key of `host_values`, and the host.

    Of many hosts, the lowest, the mean and the highest are curves.

    >>> curves_of_hosts([{"host": "a", "load": 1.5, "cores": 2}])
    {'load/a': 1.5}

    Args:
        lines: Results of `host_values`, one for each host.
    """
    curves = {}
    for key in _CURVES:
        known = {line["host"]: float(line[key]) for line in lines if line.get(key) is not None}
        if len(lines) <= MOST_CURVES:
            curves.update({f"{key}/{host}": value for host, value in known.items()})
        elif known:
            values = list(known.values())
            curves[f"{key}/lowest"] = min(values)
            curves[f"{key}/mean"] = sum(values) / len(values)
            curves[f"{key}/highest"] = max(values)
    for line in lines if len(lines) <= MOST_CURVES else ():
        for index, gpu in enumerate(line.get("gpus", ())):
            for key in ("share", "memory_used_bytes"):
                if gpu[key] is not None:
                    curves[f"gpu_{key}/{line['host']}/{index}"] = float(gpu[key])
    return curves


_CURVES = (
    "cpu_share",
    "load",
    "memory_used_bytes",
    "memory_available_bytes",
    "network_in_bytes_per_second",
    "network_out_bytes_per_second",
    "disk_read_bytes_per_second",
    "disk_write_bytes_per_second",
)


def _share(parts: Floats, wholes: Floats, rank: int) -> float | None:
    if wholes[rank] <= 0:
        return None
    return _rounded(min(1.0, float(parts[rank] / wholes[rank])), 4)


def _rounded(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None


def _whole(value: float) -> int | None:
    return round(value) if math.isfinite(value) else None
