"""Predictions as CSV, JSON lines or Parquet, in the order of the images."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.files.atomic import write_bytes

SUFFIXES = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is said of one image.

    Attributes:
        image: Its path as it was given.
        classes: The most probable classes, the first the most probable.
        probabilities: Theirs.
        error: Why it could not be read; None if it could.
    """

    image: str
    classes: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    error: str | None = None


def require_format(path: Path) -> None:
    """Raises if the suffix is none that can be written, or the folder is not there.

    Raises:
        ConfigError: In that case.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            "--out",
            got=str(path),
            expected=f"a file that ends in {', '.join(SUFFIXES)}",
            fix="choose one of them",
        )
    if not path.parent.is_dir():
        raise ConfigError(
            "--out",
            got=str(path),
            expected="a file in a folder that is there",
            fix=f"make the folder {path.parent}",
        )


def write_predictions(path: Path, predictions: Sequence[Prediction], top_k: int) -> None:
    """Writes predictions at one stroke, in the format that the suffix says.

    Args:
        path: `.csv`, `.jsonl` or `.parquet`.
        predictions: In the order of the images.
        top_k: Classes of each.
    """
    writers = {".csv": _as_csv, ".jsonl": _as_json_lines, ".parquet": _as_parquet}
    content = writers[path.suffix.lower()](predictions, top_k)
    write_bytes(path, content)


def _as_csv(predictions: Sequence[Prediction], top_k: int) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    places = range(1, top_k + 1)
    pairs = [name for k in places for name in (f"class_{k}", f"probability_{k}")]
    writer.writerow(["image", *pairs, "error"])
    for one in predictions:
        cells: list[Any] = []
        for name, probability in zip(one.classes, one.probabilities, strict=True):
            cells += [name, repr(probability)]
        cells += [""] * (2 * top_k - len(cells))
        writer.writerow([one.image, *cells, one.error or ""])
    return text.getvalue().encode("utf-8", errors="surrogateescape")


def _as_json_lines(predictions: Sequence[Prediction], top_k: int) -> bytes:
    del top_k

    def lines() -> Iterator[str]:
        for one in predictions:
            row = {"image": one.image, "predictions": _pairs(one), "error": one.error}
            yield json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n"

    return "".join(lines()).encode()


def _as_parquet(predictions: Sequence[Prediction], top_k: int) -> bytes:
    del top_k
    pair = pa.struct([("class", pa.string()), ("probability", pa.float64())])
    table = pa.table(
        {
            "image": pa.array([_text(one.image) for one in predictions], pa.string()),
            "predictions": pa.array([_pairs(one) for one in predictions], pa.list_(pair)),
            "error": pa.array([one.error for one in predictions], pa.string()),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _pairs(one: Prediction) -> list[dict[str, Any]]:
    return [
        {"class": name, "probability": probability}
        for name, probability in zip(one.classes, one.probabilities, strict=True)
    ]


def _text(path: str) -> str:
    """Returns a path whose bytes need not be text as text."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")
