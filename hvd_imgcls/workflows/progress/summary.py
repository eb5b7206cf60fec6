"""The summary of a run, as text and as JSON."""

from __future__ import annotations

import resource
from typing import Any

import numpy as np

from hvd_imgcls.text.numbers import duration, percent
from hvd_imgcls.workflows.progress.lines import rounded
from hvd_imgcls.workflows.progress.record import Record
from hvd_imgcls.workflows.progress.waiting import Floats, Times

NOTABLE_DIFFERENCE = 0.05
"""A rank is named if its fraction exceeds the mean of all ranks by this much."""


def summarize(record: Record, metrics: dict[str, Any], *, num_bad_images: int) -> dict[str, Any]:
    """Returns the contents of summary.json; see docs/run-directory.md.

    Args:
        record: Results of the run.
        metrics: Exact metrics of the held-out split.
        num_bad_images: Number of unreadable images that were left out.
    """
    times, speed = record.times(), record.images_per_second()
    seconds = {
        "total": record.seconds,
        "training": record.training_seconds,
        "evaluation": record.evaluation_seconds,
    }
    if record.pretraining is not None:
        seconds["pretraining"] = record.pretraining.training_seconds
    return {
        **{name: metrics[name] for name in ("top1", "loss", "num_correct", "num_examples")},
        "num_epochs": len(record.epochs),
        "num_steps": record.num_steps,
        "num_skipped_steps": record.num_skipped_steps,
        "num_bad_images": num_bad_images,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "images_per_second": None if speed is None else round(speed, 1),
        "data_wait_share": None if times is None else rounded(times.data_share),
        "rank_wait_share": None if times is None else rounded(times.rank_share),
        "slowest_rank": None if times is None else times.slowest_rank,
        "ranks": [] if times is None else _by_rank(times),
        "peak_memory_bytes": peak_memory_bytes(),
    }


def describe_run(summary: dict[str, Any]) -> list[str]:
    """Returns the last log lines of a run.

    Args:
        summary: Result of `summarize`.
    """
    seconds = summary["seconds"]
    parts = [
        f"{name.replace('pretraining', 'pre-training')} {duration(seconds[name])}"
        for name in ("pretraining", "training", "evaluation")
        if name in seconds
    ]
    lines = [f"time: {duration(seconds['total'])} ({', '.join(parts)})"]
    if summary["images_per_second"] is not None:
        lines.append(f"speed: {summary['images_per_second']:,.0f} images/s in training")
    if summary["data_wait_share"] is not None:
        lines.append(_waiting(summary))
    if summary["num_skipped_steps"]:
        lines.append(
            f"skipped: {summary['num_skipped_steps']:,} of {summary['num_steps']:,} steps, "
            "with NaN or infinite gradients"
        )
    if summary["num_bad_images"]:
        lines.append(f"left out: {summary['num_bad_images']:,} unreadable images")
    return lines


def peak_memory_bytes() -> int:
    """Returns the peak memory of this process."""
    # Linux counts in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _waiting(summary: dict[str, Any]) -> str:
    ranks = summary["ranks"]
    line = f"waiting: data {percent(summary['data_wait_share'])}{_worst(ranks, 'data_wait_share')}"
    if len(ranks) > 1:
        line += f", other ranks {percent(summary['rank_wait_share'])}"
        line += _worst(ranks, "rank_wait_share")
        shares = [rank["rank_wait_share"] for rank in ranks]
        if max(shares) - min(shares) >= NOTABLE_DIFFERENCE:
            line += f"; slowest: rank {summary['slowest_rank']}"
    return line


def _worst(ranks: list[dict[str, Any]], share: str) -> str:
    """Returns the rank with the highest fraction, if it stands out."""
    shares = np.array([rank[share] for rank in ranks])
    worst = int(shares.argmax())
    if shares[worst] - shares.mean() < NOTABLE_DIFFERENCE:
        return ""
    return f" (rank {worst}: {percent(shares[worst])})"


def _by_rank(times: Times) -> list[dict[str, Any]]:
    data_shares, rank_shares = (
        _shares(part, times.seconds) for part in (times.data_seconds, times.rank_seconds)
    )
    return [
        {
            "rank": rank,
            "seconds": round(float(seconds), 3),
            "data_wait_share": round(float(data_shares[rank]), 4),
            "rank_wait_share": round(float(rank_shares[rank]), 4),
        }
        for rank, seconds in enumerate(times.seconds)
    ]


def _shares(parts: Floats, wholes: Floats) -> Floats:
    return np.minimum(parts / np.maximum(wholes, 1e-9), 1.0)
