"""What `check-data` says about the images of a manifest."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from hvd_imgcls.workflows.startup.large_images import note_on_large_files

_USUAL_IMAGE_SIZE = 224


def describe_manifest(table: pa.Table) -> str:
    """Summarises the images as lines of text: counts, formats, sizes."""
    rows = table.select(
        ["path", "split", "checksum", "format", "height", "width", "problem", "remarks"]
    ).to_pylist()
    good = [row for row in rows if row["problem"] is None]
    formats = Counter(row["format"] for row in good)
    lines = [f"{len(good):,} of {len(rows):,} images can be read"]
    if good:
        lines.append("  formats: " + _counts(formats))
        shorter = sorted(min(row["height"], row["width"]) for row in good)
        lines.append(
            f"  shorter side: {shorter[0]} to {shorter[-1]} pixels, median "
            f"{shorter[len(shorter) // 2]}"
        )
    remarks = Counter(r for row in good for r in row["remarks"].split(", ") if r)
    if remarks:
        lines.append("  warnings: " + _counts(remarks))
    lines += _in_both_splits(rows)
    return "\n".join(lines)


def note_on_large_images(table: pa.Table) -> str | None:
    """Returns a note if most images are far larger than a network of the usual size needs."""
    columns = ["path", "path_bytes", "height", "width", "problem"]
    sides = [
        (Path(os.fsdecode(row["path_bytes"] or row["path"])), min(row["height"], row["width"]))
        for row in table.select(columns).to_pylist()
        if row["problem"] is None
    ]
    what = f"{len(sides):,} images that can be read"
    return note_on_large_files(sides, _USUAL_IMAGE_SIZE, what)


def _in_both_splits(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns a line on held-out images that are also in the training split (data leakage)."""
    of_training = {row["checksum"]: row["path"] for row in rows if row["split"] == "train"}
    both = [
        (row["path"], of_training[row["checksum"]])
        for row in rows
        if row["split"] == "held_out" and row["checksum"] and row["checksum"] in of_training
    ]
    if not both:
        return []
    return [
        f"  {len(both):,} held-out images are also in the training split, byte for byte, such as "
        f"{both[0][0]}, identical to {both[0][1]}"
    ]


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counter.most_common())
