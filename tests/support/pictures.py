"""Looking into pictures."""

import numpy as np


def contains(sheet, picture):
    """Whether a picture is somewhere in a sheet, pixel for pixel."""
    pixels, wanted = np.asarray(sheet), np.asarray(picture)
    height, width = wanted.shape[:2]
    corners = np.argwhere((pixels == wanted[0, 0]).all(axis=2))
    return any(np.array_equal(pixels[y : y + height, x : x + width], wanted) for y, x in corners)
