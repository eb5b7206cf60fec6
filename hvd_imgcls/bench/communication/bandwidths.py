"""Summarises measured allreduces: bandwidths, shares of the bound, ratios. Plain arithmetic."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from hvd_imgcls.bench.communication.arithmetic import MIB, bus_bandwidth, ring_seconds, size_text
from hvd_imgcls.bench.communication.work import OURS, RAW
from hvd_imgcls.bench.measuring.ratio import ratio_of_pairs

GOAL = 0.95
"""Minimum speed relative to the same backend without anything around it, from 1 MiB on."""


def summarize(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the results of `allreduce_rank.measure` with what follows from them.

    Args:
        measured: The link, and for every size the seconds of each turn of each side.

    Returns:
        The same, and for every size: median seconds and bus bandwidth (bytes per second) of each
        side and of the bound, our share of it, and our speed relative to the other side.
    """
    size, link = measured["ranks"], measured["link"]
    rows = [_row(one, size, link) for one in measured["sizes"]]
    summary = {**measured, "sizes": rows, "text": _describe(rows, link)}
    large = [row["ratio"] for row in rows if "ratio" in row and row["bytes"] >= MIB]
    if large:
        pairs = [pair for ratio in large for pair in ratio["of pairs"]]
        speed = ratio_of_pairs(pairs, [1.0] * len(pairs))
        worst = min(ratio["ratio"] for ratio in large)
        summary["speed from 1 MiB"] = {
            **speed.to_json(),
            "worst size": worst,
            "goal": f"at least {GOAL:g} for every size",
            "reached": worst >= GOAL,
        }
        summary["text"] += (
            f"; speed from 1 MiB, {OURS} / {RAW}: {speed.describe()}, worst size {worst:.3f} "
            f"(goal at least {GOAL:g})"
        )
    return summary


def _row(one: Mapping[str, Any], size: int, link: Mapping[str, float]) -> dict[str, Any]:
    num_bytes, turns = one["bytes"], one["seconds"]
    seconds = {name: statistics.median(of_side) for name, of_side in turns.items()}
    bound = ring_seconds(num_bytes, size, link["round trip seconds"], link["bytes per second"])
    row = {
        "bytes": num_bytes,
        "seconds": {**seconds, "bound": bound},
        "turns": turns,
        "bus bandwidth": {
            name: bus_bandwidth(num_bytes, size, value)
            for name, value in {**seconds, "bound": bound}.items()
        },
        "share of bound": bound / seconds[OURS],
    }
    if RAW in turns:
        pairs = [raw / ours for ours, raw in zip(turns[OURS], turns[RAW], strict=True)]
        # The ratio of speeds, which is the inverse of that of times.
        row["ratio"] = {**ratio_of_pairs(turns[RAW], turns[OURS]).to_json(), "of pairs": pairs}
    return row


def _describe(rows: Sequence[Mapping[str, Any]], link: Mapping[str, float]) -> str:
    smallest, largest = rows[0], rows[-1]
    return (
        f"latency {1e3 * smallest['seconds'][OURS]:.2f} ms ({size_text(smallest['bytes'])}); "
        f"{largest['bus bandwidth'][OURS] / 1e6:,.1f} MB/s of bus bandwidth "
        f"({size_text(largest['bytes'])}), {largest['share of bound']:.0%} of the bound; the link "
        f"over TCP: {link['bytes per second'] / 1e6:,.1f} MB/s, "
        f"{1e3 * link['round trip seconds']:.3f} ms"
    )


def table_of(summary: Mapping[str, Any]) -> list[list[str]]:
    """Returns the rows of a table for the terminal, the header first."""
    has_raw = any("ratio" in row for row in summary["sizes"])
    header = ["message", "ms", "bus MB/s", "bound MB/s", "share"]
    table = [[*header, f"{RAW} ms", "speed"] if has_raw else header]
    for row in summary["sizes"]:
        seconds, bandwidth = row["seconds"], row["bus bandwidth"]
        cells = [
            size_text(row["bytes"]),
            f"{1e3 * seconds[OURS]:.2f}",
            f"{bandwidth[OURS] / 1e6:,.2f}",
            f"{bandwidth['bound'] / 1e6:,.2f}",
            f"{row['share of bound']:.0%}",
        ]
        if "ratio" in row:
            ratio = row["ratio"]
            cells += [
                f"{1e3 * seconds[RAW]:.2f}",
                f"{ratio['ratio']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]",
            ]
        table.append(cells)
    return table
