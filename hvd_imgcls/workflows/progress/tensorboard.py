"""Curves and pictures in TensorBoard's files. TensorFlow writes them; nothing reads them here."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from PIL import Image

# Written as TensorBoard's own protocol buffers: `tf.summary.scalar` and `tf.summary.image` are
# functions of the package tensorboard, which nobody has to install for a training.
_Summary = tf.compat.v1.Summary


class Board:
    """A directory of TensorBoard's.

    Args:
        path: The directory; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._writer = tf.summary.create_file_writer(str(path))

    def write_numbers(self, group: str, values: Mapping[str, Any], step: int) -> None:
        """Writes a point of every curve.

        Args:
            group: What the curves are shown under.
            values: Numbers by name. What is no number is left out.
            step: Finished steps: where the points are.
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
        """Writes a picture, as PNG."""
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
        with self._writer.as_default():
            tf.summary.experimental.write_raw_pb(
                _Summary(value=values).SerializeToString(), step=step
            )
        # At once: whoever looks at a training looks at it now.
        self._writer.flush()

    def close(self) -> None:
        """Finishes the file."""
        self._writer.close()
