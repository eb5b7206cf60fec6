"""Writes TensorBoard files with TensorFlow."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from PIL import Image

logger = logging.getLogger(__name__)

# Written as TensorBoard's own protocol buffers: `tf.summary.scalar` and `tf.summary.image`
# require the package tensorboard, which training should not depend on.
_Summary = tf.compat.v1.Summary


class Board:
    """A TensorBoard log directory.

    Args:
        path: The directory; created if missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._has_failed = False
        self._writer = tf.summary.create_file_writer(str(path))

    def write_numbers(self, group: str, values: Mapping[str, Any], step: int) -> None:
        """Writes a point of every curve.

        Args:
            group: Group of the curves.
            values: Numbers by name. Other values are skipped.
            step: Completed steps: the x coordinate.
        """
        self._write(
            [
                _Summary.Value(tag=f"{group}/{name}", simple_value=value)
                for name, value in values.items()
                if isinstance(value, int | float)
            ],
            step,
        )

    def write_picture(self, name: str, picture: Image.Image, step: int) -> None:
        """Writes an image, as PNG."""
        content = io.BytesIO()
        picture.save(content, format="PNG")
        encoded = _Summary.Image(
            width=picture.width,
            height=picture.height,
            colorspace=3,
            encoded_image_string=content.getvalue(),
        )
        self._write([_Summary.Value(tag=name, image=encoded)], step)

    def _write(self, values: list[Any], step: int) -> None:
        if self._has_failed:
            return
        try:
            with self._writer.as_default():
                tf.summary.experimental.write_raw_pb(
                    _Summary(value=values).SerializeToString(), step=step
                )
            # Flushed immediately, to be visible during training.
            self._writer.flush()
        except tf.errors.OpError as error:
            self._fail(error)

    def close(self) -> None:
        """Closes the file."""
        try:
            self._writer.close()
        except tf.errors.OpError as error:
            self._fail(error)

    def _fail(self, error: tf.errors.OpError) -> None:
        if not self._has_failed:
            self._has_failed = True
            logger.warning("%s: no more curves are written: %s", self._path, error.message)
