"""The names of the compared ways of decoding a window, without importing TensorFlow."""

from __future__ import annotations

from typing import Literal

# `resize: bilinear` and `exif_orientation: ignore`, which decode as versions before antialiasing.
BEFORE = "without antialiasing"
# The default, and with `exif_orientation: ignore`.
UPRIGHT, STORED = "antialias", "antialias, EXIF ignored"
# As before, with TensorFlow's default inverse transform instead of the accurate one.
FAST = "antialias, EXIF ignored, fast transform"
# Pillow's draft mode (decoding at 1/2, 1/4 or 1/8 of the size) and its antialiased resize.
DRAFT = "Pillow draft"

# Of windows: the central one of evaluation, or random ones of training.
Kind = Literal["centre", "random"]
KINDS: tuple[Kind, ...] = ("centre", "random")
