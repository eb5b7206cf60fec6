"""Draws contact sheets: rows of images with headings and labels."""

from __future__ import annotations

import functools
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.files import atomic

SMALL_SIDE = 128
"""Small images are magnified by a whole factor, up to this many pixels."""
LARGE_SIDE = 160
"""Larger images are downscaled to this many pixels."""

_MARGIN = 20
_GAP = 6
_GROUP_GAP = 28
_WIDTH = 1200
_LINE = 17
_FONT_SIZE, _TITLE_SIZE = 13, 20
# Smaller fractions of a blended target are not shown.
_LEAST_WEIGHT = 0.005
_MOST_LINES = 4
_BACKGROUND, _INK, _FAINT, _RULE = "#ffffff", "#1c1c1e", "#6b6b70", "#d8d8dc"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """An image with lines of text below it.

    Attributes:
        image: `[height, width, 1 or 3]`, uint8; None leaves the tile empty.
        lines: Text lines below it, each a text that is truncated to fit and a suffix that is
            never truncated.
    """

    image: npt.NDArray[np.uint8] | None
    lines: tuple[tuple[str, str], ...] = ()


def draw_sheet(
    groups: Sequence[Sequence[Tile]],
    *,
    headings: Sequence[str],
    title: str,
    caption: Sequence[str],
    side: int,
) -> Image.Image:
    """Draws a sheet with one group of tiles per example, as many groups per row as fit.

    Args:
        groups: At least one; each has one tile per heading.
        headings: Heading of every tile in a group.
        title: First line above the sheet.
        caption: Lines below it, wrapped if too long.
        side: Height and width of the images, in pixels.
    """
    shown = shown_side(side)
    width = len(headings) * (shown + _GAP) - _GAP
    per_row = max(1, min(len(groups), (_WIDTH - 2 * _MARGIN + _GROUP_GAP) // (width + _GROUP_GAP)))
    num_rows = -(-len(groups) // per_row)
    num_lines = max(len(tile.lines) for group in groups for tile in group)
    row_height = shown + num_lines * _LINE + 14
    total = max(2 * _MARGIN + per_row * (width + _GROUP_GAP) - _GROUP_GAP, 640)
    wrapped = [part for line in caption for part in _wrap(line, total - 2 * _MARGIN)]
    top = _MARGIN + _TITLE_SIZE + 10 + len(wrapped) * _LINE + 16
    first_row = top + _LINE + 8

    sheet = Image.new("RGB", (total, first_row + num_rows * row_height + _MARGIN - 8), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw_text(draw, (_MARGIN, _MARGIN), title, size=_TITLE_SIZE)
    for i, line in enumerate(wrapped):
        draw_text(draw, (_MARGIN, _MARGIN + _TITLE_SIZE + 10 + i * _LINE), line, colour=_FAINT)
    draw.line([(_MARGIN, top - 8), (total - _MARGIN, top - 8)], fill=_RULE)
    for column in range(per_row):
        left = _MARGIN + column * (width + _GROUP_GAP)
        for i, heading in enumerate(headings):
            at = (left + i * (shown + _GAP), top)
            draw_text(draw, at, cut_text(heading, shown), colour=_FAINT)
    for number, group in enumerate(groups):
        row, column = divmod(number, per_row)
        for i, tile in enumerate(group):
            x = _MARGIN + column * (width + _GROUP_GAP) + i * (shown + _GAP)
            _draw_tile(sheet, draw, tile, (x, first_row + row * row_height), shown)
    return sheet


def require_writable(path: Path) -> None:
    """Checks that a sheet can be written to a file, without changing the file.

    Raises:
        ConfigError: If it cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise ConfigError(
            "--out", got=str(path), expected="a name ending in .png", fix="use such a name"
        )
    try:
        atomic.require_writable(path)
    except OSError as error:
        raise _unwritable(path, error) from error


def write_sheet(sheet: Image.Image, path: Path) -> None:
    """Writes a sheet as PNG, atomically.

    Raises:
        ConfigError: If the file cannot be written.
    """
    try:
        with atomic.replacing(path) as partial:
            sheet.save(partial, format="PNG")
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        "--out",
        got=f"{path} ({error.strerror or error})",
        expected="a writable file",
        fix="choose another one",
    )


def shown_side(side: int) -> int:
    """Returns the height and width at which images are drawn, in pixels.

    >>> [shown_side(side) for side in (8, 28, 32, 100, 128, 150, 224, 600)]
    [128, 112, 128, 100, 128, 150, 160, 160]
    """
    return max(1, SMALL_SIDE // side) * side if side <= SMALL_SIDE else min(side, LARGE_SIDE)


def enlarged(image: npt.NDArray[np.uint8]) -> Image.Image:
    """Returns a square image at its drawn size; small ones are magnified without smoothing."""
    shown = shown_side(image.shape[0])
    picture = Image.fromarray(np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image)
    smooth = Image.Resampling.LANCZOS
    return picture.resize(
        (shown, shown), smooth if shown < image.shape[0] else Image.Resampling.NEAREST
    )


def plain_name(name: str, label: int) -> str:
    """Returns a class name in ASCII, the font's characters; `class 3` if too little remains.

    >>> plain_name("café", 3), plain_name("猫", 3), plain_name("猫 (cat)", 3)
    ('cafe', 'class 3', '(cat)')
    """
    parts = unicodedata.normalize("NFKD", name)
    text = " ".join(parts.encode("ascii", "ignore").decode("ascii").split())
    text = "".join(letter for letter in text if letter.isprintable())
    kept = sum(letter.isalnum() for letter in text)
    letters = sum(letter.isalnum() for letter in parts)
    return text if kept and 2 * kept >= letters else f"class {label}"


def blended(target: npt.NDArray[np.float32], names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Returns the classes of a target with their weights, largest first.

    >>> blended(np.array([0.25, 0.0, 0.75], np.float32), ["cat", "dog", "owl"])
    (('owl', ' 0.75'), ('cat', ' 0.25'))
    """
    order = np.argsort(-target, kind="stable")[:_MOST_LINES]
    return tuple((names[i], f" {target[i]:.2f}") for i in order if target[i] >= _LEAST_WEIGHT)


def _draw_tile(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, at: tuple[int, int], shown: int
) -> None:
    x, y = at
    if tile.image is None:
        draw.rectangle([x, y, x + shown - 1, y + shown - 1], outline=_RULE)
    else:
        sheet.paste(enlarged(tile.image), at)
    for i, (line, end) in enumerate(tile.lines):
        draw_text(draw, (x, y + shown + 3 + i * _LINE), cut_text(line, shown, end))


def draw_text(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    *,
    size: int = _FONT_SIZE,
    colour: str = _INK,
) -> None:
    """Draws a line of text whose upper left corner is at (x, y), in pixels."""
    # Pillow's built-in font covers only ASCII; other characters of a file name become "?".
    drawn = text.encode("ascii", "replace").decode("ascii")
    draw.text(at, drawn, font=_font(size), fill=colour)


def cut_text(text: str, width: int, end: str = "") -> str:
    """Truncates a text so that, with `end` appended, it is at most `width` pixels wide."""
    font = _font(_FONT_SIZE)
    if len(text) > width:  # Every character is at least one pixel wide.
        text = text[:width]
    if font.getlength(text + end) <= width:
        return text + end
    while text and font.getlength(f"{text}...{end}") > width:
        text = text[:-1]
    return f"{text.rstrip()}...{end}"


def text_width(text: str) -> float:
    """Returns the width of a text drawn by `draw_text`, in pixels."""
    return _font(_FONT_SIZE).getlength(text)


def _wrap(text: str, width: int) -> list[str]:
    """Wraps a text to lines of about `width` pixels."""
    letters = int(width / _font(_FONT_SIZE).getlength("n") * 1.1)
    return textwrap.wrap(text, letters) or [""]


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)
