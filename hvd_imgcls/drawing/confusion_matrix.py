"""Draws a confusion matrix that is readable for 2 to 1,000 classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from hvd_imgcls.drawing.contact_sheet import cut_text, draw_text, plain_name, text_width

MOST_LABELLED = 40
"""With more classes, cells have only colours: names and counts would be too small to read."""

Counts = npt.NDArray[np.int64]

_MARGIN = 20
_LINE = 17
_MAP_SIDE = 900
_NAME_WIDTH = 130
_TOP = _MARGIN + 64
# From 0 % to 100 % of the examples of a class; distinguishable without colour vision.
_PAPER = np.array([255.0, 255.0, 255.0])
_INK = np.array([16.0, 66.0, 128.0])
_GRID, _FAINT, _WHITE, _BLACK = "#d8d8dc", "#6b6b70", "#ffffff", "#1c1c1e"


def draw_confusion(confusion: Counts, class_names: Sequence[str]) -> Image.Image:
    """Draws the matrix with one row per true class and one column per predicted class.

    The colour of a cell shows its fraction of the row. Up to `MOST_LABELLED` classes are shown with
    names and counts; more as a heat map with a list of the most frequent confusions.

    Args:
        confusion: Examples by label and predicted class, `[num_classes, num_classes]`.
        class_names: `[num_classes]`.
    """
    names = [plain_name(name, label) for label, name in enumerate(class_names)]
    if len(names) <= MOST_LABELLED:
        return _draw_labelled(confusion, names)
    return _draw_map(confusion, names)


def shares_of_rows(confusion: Counts) -> npt.NDArray[np.float64]:
    """Returns every cell as a fraction of its row, 0 to 1; rows without examples are 0."""
    return confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)


def worst_confusions(
    confusion: Counts, names: Sequence[str], number: int = 8
) -> list[tuple[str, str, int]]:
    """Returns true class, predicted class and count of the most frequent confusions.

    >>> worst_confusions(np.array([[5, 2, 0], [0, 9, 0], [1, 0, 3]]), ["a", "b", "c"])
    [('a', 'b', 2), ('c', 'a', 1)]
    """
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:number]
    cells = [divmod(int(place), len(names)) for place in order]
    return [(names[i], names[j], int(wrong[i, j])) for i, j in cells if wrong[i, j]]


def _draw_labelled(confusion: Counts, names: list[str]) -> Image.Image:
    digits = max(text_width(f"{count:,}") for count in confusion.reshape(-1).tolist())
    cell = max(28, int(digits) + 8)
    left = _MARGIN + int(max(text_width(cut_text(name, _NAME_WIDTH)) for name in names)) + 10
    # Column names are rotated by 90 degrees, so their length is a height.
    heading = int(max(text_width(cut_text(name, _NAME_WIDTH)) for name in names)) + 10
    top, side = _TOP + heading, cell * len(names)
    size = max(left + side + _MARGIN, 460), top + side + _MARGIN
    picture, draw = _sheet(size, confusion)
    shares = shares_of_rows(confusion)
    for i, name in enumerate(names):
        middle = top + i * cell + (cell - _LINE) // 2
        text = cut_text(name, _NAME_WIDTH)
        draw_text(draw, (int(left - 6 - text_width(text)), middle), text)
        _draw_upright(picture, (left + i * cell + (cell - _LINE) // 2, top - 6), text)
    for i, row in enumerate(confusion.tolist()):
        for j, count in enumerate(row):
            x, y = left + j * cell, top + i * cell
            fill = tuple(int(part) for part in _colours(shares[i, j]))
            draw.rectangle([x, y, x + cell - 1, y + cell - 1], fill=fill, outline=_GRID)
            if count:
                text = f"{count:,}"
                at = int(x + (cell - text_width(text)) / 2), y + (cell - _LINE) // 2
                draw_text(draw, at, text, colour=_WHITE if shares[i, j] > 0.5 else _BLACK)
    return picture


def _draw_map(confusion: Counts, names: list[str]) -> Image.Image:
    lines = [
        f"{count:,} of {true} predicted as {taken}"
        for true, taken, count in worst_confusions(confusion, names)
    ]
    scale = max(1, _MAP_SIDE // len(names))
    side = scale * len(names)
    height = _TOP + side + 16 + (len(lines) + 1) * _LINE + _MARGIN
    picture, draw = _sheet((max(side + 2 * _MARGIN, 460), height), confusion)
    # A single error must be visible: fractions below 1 are drawn darker than they are.
    pixels = _colours(np.sqrt(shares_of_rows(confusion))).astype(np.uint8)
    enlarged = np.repeat(np.repeat(pixels, scale, axis=0), scale, axis=1)
    picture.paste(Image.fromarray(enlarged), (_MARGIN, _TOP))
    corner = _MARGIN + side, _TOP + side
    draw.rectangle([_MARGIN - 1, _TOP - 1, *corner], outline=_GRID)
    for i, line in enumerate(["most often confused:" if lines else "no confusions", *lines]):
        text = cut_text(line, picture.width - 2 * _MARGIN)
        draw_text(draw, (_MARGIN, _TOP + side + 12 + i * _LINE), text)
    return picture


def _sheet(size: tuple[int, int], confusion: Counts) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", size, _WHITE)
    draw = ImageDraw.Draw(picture)
    total, right = int(confusion.sum()), int(np.trace(confusion))
    draw_text(draw, (_MARGIN, _MARGIN - 4), "confusion matrix", size=20)
    caption = f"{right:,} of {total:,} correct; rows: true class, columns: predicted class"
    draw_text(draw, (_MARGIN, _MARGIN + 26), caption, colour=_FAINT)
    return picture, draw


def _colours(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the colours, `[..., 3]`, 0 .. 255, of fractions `[...]`."""
    return _PAPER + np.asarray(shares)[..., np.newaxis] * (_INK - _PAPER)


def _draw_upright(picture: Image.Image, at: tuple[int, int], text: str) -> None:
    """Draws text upwards from its lower left corner `at`."""
    strip = Image.new("RGB", (int(text_width(text)) + 2, _LINE), _WHITE)
    draw_text(ImageDraw.Draw(strip), (0, 0), text)
    turned = strip.transpose(Image.Transpose.ROTATE_90)
    picture.paste(turned, (at[0], at[1] - turned.height))
