"""Ways of decoding a window of a JPEG to 224 x 224 pixels, for the rows f, g and h."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvd_imgcls.bench.inputs.ways import BEFORE, FAST, STORED, UPRIGHT, Kind
from hvd_imgcls.config.augmentations import RandomResizedCrop
from hvd_imgcls.data.decoding import jpeg
from hvd_imgcls.data.decoding.decode import decode_window
from hvd_imgcls.data.decoding.options import DecodingOptions
from hvd_imgcls.data.decoding.windows import Window, centre_window, random_window

IMAGE_SIZE = 224
CROP_FRACTION = 0.875
Pixels = npt.NDArray[np.uint8]

OPTIONS = {
    BEFORE: DecodingOptions(resize="bilinear", is_upright=False),
    UPRIGHT: DecodingOptions(),
    STORED: DecodingOptions(is_upright=False),
    FAST: DecodingOptions(is_upright=False),
}
_KEY = 1
_CROP = RandomResizedCrop(name="random_resized_crop")
# Left, upper, right and lower edge of a window in pixels.
Box = tuple[int, int, int, int]


def window_of(size: tf.Tensor, example: tf.Tensor, kind: Kind) -> Window:
    """Returns the central window of evaluation, or the random one of training.

    Args:
        size: Height and width, int32 `[2]`.
        example: Determines a random window, scalar int64.
        kind: `centre` or `random`.
    """
    if kind == "centre":
        return centre_window(size, CROP_FRACTION)
    return random_window(size, _CROP, tf.constant(_KEY, tf.int64), example)


def our_decoding(name: str, kind: Kind) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns a function from an encoded image and a number to pixels, for a graph.

    Args:
        name: A key of `OPTIONS`. After `FAST`, this process decodes everything that way.
        kind: Kind of window.
    """
    if name == FAST:
        jpeg.EXACT = ""

    def decode(contents: tf.Tensor, example: tf.Tensor) -> tf.Tensor:
        def choose(size: tf.Tensor) -> Window:
            return window_of(size, example, kind)

        return decode_window(contents, choose, IMAGE_SIZE, OPTIONS[name])

    return decode


def box_of(size: tuple[int, int], example: int, kind: Kind) -> Box:
    """Returns the same window for Pillow.

    Args:
        size: Width and height, as in Pillow.
        example: Determines a random window.
        kind: Kind of window.
    """
    first, extent = window_of(tf.constant(size[::-1]), tf.constant(example, tf.int64), kind)
    (top, left), (height, width) = first.numpy(), extent.numpy()
    return int(left), int(top), int(left + width), int(top + height)


def by_pillow(content: bytes, box: Box) -> Pixels:
    """Decodes the whole image, crops it and resizes the window with antialiasing.

    Args:
        content: Encoded image.
        box: Its window.

    Returns:
        `[224, 224, 3]`, uint8.
    """
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        window = image.convert("RGB").crop(box)
    shape = IMAGE_SIZE, IMAGE_SIZE
    return np.asarray(window.resize(shape, Image.Resampling.BILINEAR))


def by_pillow_draft(content: bytes, box: Box) -> Pixels:
    """The same, but decoded at the smallest scale that leaves 224 pixels in the window.

    Args:
        content: Encoded image.
        box: Its window.

    Returns:
        `[224, 224, 3]`, uint8.
    """
    from PIL import Image

    left, top, right, bottom = box
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
        least = IMAGE_SIZE * width // (right - left), IMAGE_SIZE * height // (bottom - top)
        image.draft("RGB", least)
        across, down = image.width / width, image.height / height
        place = left * across, top * down, right * across, bottom * down
        shape = IMAGE_SIZE, IMAGE_SIZE
        pixels = image.convert("RGB").resize(shape, Image.Resampling.BILINEAR, box=place)
    return np.asarray(pixels)
