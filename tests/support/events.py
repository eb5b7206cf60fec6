"""Reads the files of TensorBoard that a run has written."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import tensorflow as tf


def read_events(directory: Path) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Returns the points of every curve, (step, value), and the pictures, (step, PNG)."""
    numbers, pictures = defaultdict(list), defaultdict(list)
    for path in sorted(map(str, directory.iterdir())):
        for record in tf.data.TFRecordDataset(path):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                if value.HasField("image"):
                    content = value.image.encoded_image_string
                    pictures[value.tag].append((event.step, content))
                else:
                    numbers[value.tag].append((event.step, value.simple_value))
    return dict(numbers), dict(pictures)
