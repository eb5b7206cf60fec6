"""Writes predictions as CSV, JSON Lines or Parquet, in input order."""

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

# What begins with one of these is a formula in spreadsheets, which may send or run something. An
# apostrophe is doubled, so that removing one always gives the text.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "'")
SUFFIXES = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True, slots=True)
class Prediction:
    """Prediction for one image.

    Attributes:
        image: Its path as given.
        classes: The most probable classes, in descending order of probability.
        probabilities: Their probabilities.
        error: Why the image could not be decoded; None if it could.
    """

    image: str
    classes: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    error: str | None = None


def require_format(path: Path) -> None:
    """Checks that the suffix is supported and the folder exists.

    Raises:
        ConfigError: If not.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            "--out",
            got=str(path),
            expected=f"a file name ending in {', '.join(SUFFIXES)}",
            fix="choose one of them",
        )
    if not path.parent.is_dir():
        raise ConfigError(
            "--out",
            got=str(path),
            expected="a file in an existing folder",
            fix=f"create the folder {path.parent}",
        )


def write_predictions(path: Path, predictions: Sequence[Prediction], top_k: int) -> None:
    """Writes predictions atomically, in the format given by the suffix.

    Args:
        path: `.csv`, `.jsonl` or `.parquet`.
        predictions: Predictions in input order.
        top_k: Number of classes per image.
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
    for prediction in predictions:
        cells: list[Any] = []
        for name, probability in zip(prediction.classes, prediction.probabilities, strict=True):
            cells += [_plain(name), repr(probability)]
        cells += [""] * (2 * top_k - len(cells))
        writer.writerow([_plain(prediction.image), *cells, _plain(prediction.error or "")])
    return text.getvalue().encode("utf-8", errors="surrogateescape")


def _plain(text: str) -> str:
    """Returns a cell of text that no spreadsheet takes for a formula: after an apostrophe."""
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _as_json_lines(predictions: Sequence[Prediction], top_k: int) -> bytes:
    del top_k

    def lines() -> Iterator[str]:
        for prediction in predictions:
            row = {
                "image": prediction.image,
                "predictions": _pairs(prediction),
                "error": prediction.error,
            }
            yield json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n"

    return "".join(lines()).encode()


def _as_parquet(predictions: Sequence[Prediction], top_k: int) -> bytes:
    del top_k
    pair = pa.struct([("class", pa.string()), ("probability", pa.float64())])
    table = pa.table(
        {
            "image": pa.array([_text(prediction.image) for prediction in predictions], pa.string()),
            "predictions": pa.array(
                [_pairs(prediction) for prediction in predictions], pa.list_(pair)
            ),
            "error": pa.array([prediction.error for prediction in predictions], pa.string()),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _pairs(prediction: Prediction) -> list[dict[str, Any]]:
    return [
        {"class": name, "probability": probability}
        for name, probability in zip(prediction.classes, prediction.probabilities, strict=True)
    ]


def _text(path: str) -> str:
    """Returns a path as text, even if it contains bytes that are not UTF-8."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")
