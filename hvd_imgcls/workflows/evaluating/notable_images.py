"""Thumbnails of notable held-out images, such as the most confident errors, for the report."""

from __future__ import annotations

import base64
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from hvd_imgcls.config import RunConfig
from hvd_imgcls.data import ImageSource
from hvd_imgcls.data.pipeline.previews import evaluation_images
from hvd_imgcls.errors import DataError
from hvd_imgcls.files.json_files import write_json

logger = logging.getLogger(__name__)

LISTS = ("most_confident_mistakes", "least_confident_hits")
_SIDE = 192
_QUALITY = 85


def write_pictures(
    path: Path,
    metrics: dict[str, Any],
    source: ImageSource,
    config: RunConfig,
    *,
    num_threads: int,
) -> None:
    """Writes the images listed in an evaluation, as the network receives them, by example number.

    Root only. Images that are not on this machine are skipped.

    Args:
        path: A JSON file that maps example numbers to data URIs.
        metrics: Return value of `with_examples`.
        source: The images.
        config: Defines the preprocessing.
        num_threads: Threads that decode.
    """
    numbers = sorted({row["example"] for name in LISTS for row in metrics.get(name, ())})
    if source.division is not None:
        logger.info("no thumbnails of held-out images: the images are on several hosts")
        return
    if not numbers:
        return
    try:
        images = evaluation_images(source, config, "held_out", numbers, num_threads=num_threads)
    except DataError as error:
        logger.info("no thumbnails of held-out images: %s", error)
        return
    pictures = zip(map(str, numbers), map(data_uri, images), strict=True)
    write_json(path, dict(pictures))


def data_uri(image: npt.NDArray[np.uint8]) -> str:
    """Encodes an image as a data URI.

    Args:
        image: `[height, width, 1 or 3]`, uint8. Downscaled if larger than 192 pixels.
    """
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    if max(picture.size) <= 64:
        # Small images are viewed pixel by pixel, so they stay lossless.
        picture.save(buffer, "PNG", optimize=True)
        return _uri("png", buffer)
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return _uri("jpeg", buffer)


def _uri(kind: str, buffer: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
