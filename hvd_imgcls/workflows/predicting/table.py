"""Formats predictions as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hvd_imgcls.text.printable import printable
from hvd_imgcls.text.table import text_table
from hvd_imgcls.workflows.predicting.output import Prediction


def prediction_table(predictions: Sequence[Prediction], top_k: int) -> Iterator[str]:
    """Yields the lines of a table: image, then `top_k` classes with their probabilities.

    >>> for line in prediction_table([Prediction("a.jpg", ("cat", "dog"), (0.75, 0.25))], 2):
    ...     print(line)
    image  class  probability  2nd class  probability
    a.jpg  cat    0.7500       dog        0.2500
    """
    names = ["class", *(f"{_ordinal(place)} class" for place in range(2, top_k + 1))]
    header = ["image", *(cell for name in names for cell in (name, "probability"))]
    yield from text_table([header, *map(_cells, predictions)])


def _cells(prediction: Prediction) -> list[str]:
    if prediction.error is not None:
        return [printable(prediction.image), f"error: {printable(prediction.error)}"]
    pairs = zip(prediction.classes, prediction.probabilities, strict=True)
    return [
        printable(prediction.image),
        *(cell for name, value in pairs for cell in (printable(name), f"{value:.4f}")),
    ]


def _ordinal(place: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th") if place % 100 // 10 != 1 else "th"
    return f"{place}{ending}"
