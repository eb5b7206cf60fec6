"""The state of a run in Prometheus's text format, for the textfile collector of its node exporter.

https://prometheus.io/docs/instrumenting/exposition_formats/, text format 0.0.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_PREFIX = "hvd_imgcls"
_Sample = tuple[Mapping[str, str], float | None]

_OF_RUN = {
    "epoch": ("epoch", "Epoch that is being trained, from 1."),
    "num_epochs": ("epochs_planned", "Epochs of the phase."),
    "step": ("step", "Completed steps of the phase."),
    "num_steps": ("steps_planned", "Steps of the phase."),
    "images_per_second": ("images_per_second", "Throughput of all ranks in this epoch."),
    "seconds_left": ("left_seconds", "Estimated time until the end of the phase."),
}
_OF_RANK = {
    "data_wait_share": ("rank_data_wait_ratio", "Fraction of time waiting for the next batch."),
    "rank_wait_share": ("rank_peer_wait_ratio", "Fraction of time waiting for slower ranks."),
    "cores": ("rank_cpu_cores", "Cores used by a rank, mean."),
    "memory_bytes": ("rank_memory_bytes", "Resident memory of a rank."),
}
_OF_HOST = {
    "cores": ("host_cores", "Logical cores of a host."),
    "cpu_share": ("host_cpu_ratio", "Fraction of the cores of a host that is busy."),
    "load": ("host_load", "Load average of one minute."),
    "memory_total_bytes": ("host_memory_total_bytes", "Memory that a host may use."),
    "memory_used_bytes": ("host_memory_used_bytes", "Memory in use, without caches."),
    "memory_available_bytes": ("host_memory_available_bytes", "Memory still available."),
    "network_in_bytes_per_second": (
        "host_network_receive_bytes_per_second",
        "Bytes received by the physical interfaces.",
    ),
    "network_out_bytes_per_second": (
        "host_network_transmit_bytes_per_second",
        "Bytes sent by the physical interfaces.",
    ),
    "disk_read_bytes_per_second": ("host_disk_read_bytes_per_second", "Bytes read from disks."),
    "disk_write_bytes_per_second": (
        "host_disk_write_bytes_per_second",
        "Bytes written to disks.",
    ),
}
_OF_GPU = {
    "share": ("gpu_ratio", "Fraction of time in which a GPU was computing."),
    "memory_used_bytes": ("gpu_memory_used_bytes", "Memory in use on a GPU."),
    "memory_total_bytes": ("gpu_memory_total_bytes", "Memory of a GPU."),
}


def prometheus_text(run: str, progress: Mapping[str, Any], *, time: float, is_running: bool) -> str:
    """Returns the text of the file.

    Args:
        run: Name of the run, the label of all metrics.
        progress: The contents of `progress.json`.
        time: Seconds since 1970.
        is_running: Whether the run goes on.
    """
    label = {"run": run}
    ranks, hosts = progress.get("ranks", ()), progress.get("hosts", ())
    families: list[str] = [
        *_family("running", "Whether the run goes on.", [(label, float(is_running))]),
        *_family("updated_timestamp_seconds", "When this file was written.", [(label, time)]),
    ]
    for key, (name, help_text) in _OF_RUN.items():
        families += _family(name, help_text, [(label, progress.get(key))])
    metrics = progress.get("metrics", {})
    families += _family(
        "metric",
        "Metrics of the training.",
        (({**label, "metric": name}, value) for name, value in metrics.items()),
    )
    for key, (name, help_text) in _OF_RANK.items():
        families += _family(
            name,
            help_text,
            (({**label, "host": r["host"], "rank": str(r["rank"])}, r[key]) for r in ranks),
        )
    for key, (name, help_text) in _OF_HOST.items():
        families += _family(
            name, help_text, (({**label, "host": h["host"]}, h[key]) for h in hosts)
        )
    for key, (name, help_text) in _OF_GPU.items():
        families += _family(name, help_text, _of_gpus(label, hosts, key))
    return "".join(families)


def _of_gpus(
    label: Mapping[str, str], hosts: Iterable[Mapping[str, Any]], key: str
) -> Iterator[_Sample]:
    for host in hosts:
        for index, gpu in enumerate(host.get("gpus", ())):
            yield {**label, "host": host["host"], "gpu": str(index)}, gpu[key]


def _family(name: str, help_text: str, samples: Iterable[_Sample]) -> Iterator[str]:
    """Yields the lines of a metric; nothing if all its values are unknown."""
    known = [(labels, value) for labels, value in samples if value is not None]
    if not known:
        return
    yield f"# HELP {_PREFIX}_{name} {help_text}\n# TYPE {_PREFIX}_{name} gauge\n"
    for labels, value in known:
        written = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"{_PREFIX}_{name}{{{written}}} {float(value)!r}\n"


def _escaped(text: str) -> str:
    """Escapes the value of a label. Bytes of a path that are no UTF-8 are replaced."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return re.sub(r'["\\]', r"\\\g<0>", text).replace("\n", "\\n")
