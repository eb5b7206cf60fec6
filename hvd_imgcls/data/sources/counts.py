"""A source of which only the numbers are known, to plan a run where the images are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.data.placement import Horizontal, Hybrid
from hvd_imgcls.config.data.sources import DigitsSource
from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.sources.base import EncodedSource
from hvd_imgcls.errors import ConfigError

if TYPE_CHECKING:
    import tensorflow as tf


class CountedImages(EncodedSource):
    """Numbers of encoded images that are not read.

    Args:
        config: The configuration; its source is not opened.
        num_train: Images in the training split.
        num_held_out: Images in the held-out split.
        num_classes: Number of classes. They are taken to be of equal size.

    Raises:
        ConfigError: If the numbers are no free choice, or not enough for a plan.
    """

    def __init__(
        self, config: RunConfig, *, num_train: int, num_held_out: int, num_classes: int
    ) -> None:
        data = config.data
        if isinstance(data.source, DigitsSource):
            raise ConfigError(
                "--num-train",
                got=num_train,
                expected="nothing with data.source.name digits, whose images are always present",
                fix="omit --num-train, --num-held-out and --num-classes",
            )
        if isinstance(data.placement, Horizontal | Hybrid):
            raise ConfigError(
                "--num-train",
                got=num_train,
                expected=f"nothing with data.placement.name {data.placement.name}, which needs the "
                "number of images of every host",
                fix="plan where the index of the record files is, or with "
                "--data.placement '{name: shared}'",
            )
        self._numbers: dict[Split, int] = {"train": num_train, "held_out": num_held_out}
        self._num_classes = num_classes
        self._takes_part = data.labelled_fraction < 1.0

    @property
    def not_checked(self) -> list[str]:
        """What a plan from these numbers leaves unchecked, as noun phrases."""
        return [
            "whether the images exist and can be read",
            "the numbers of images and classes",
            "the labels, and whether both splits have the same classes",
            *(["the number of images in each class, taken to be equal"] * self._takes_part),
        ]

    @property
    def class_names(self) -> Sequence[str]:
        """The labels as names."""
        return [str(label) for label in range(self._num_classes)]

    @property
    def notes(self) -> Sequence[str]:
        """None."""
        return []

    @property
    def fingerprint(self) -> str:
        """The numbers."""
        return f"counts-{self._numbers['train']}-{self._numbers['held_out']}-{self._num_classes}"

    def num_examples(self, split: Split) -> int:
        """Returns the number of examples in a split."""
        return self._numbers[split]

    def labels(self, split: Split) -> Numbers:
        """Returns labels of classes of equal size, `[examples]`, int64."""
        return np.arange(self._numbers[split], dtype=np.int64) % self._num_classes

    def name_of(self, split: Split, example: int) -> str:
        """Returns the number of the example."""
        return f"{split} image {example}"

    def make_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
        """Raises an error: there is nothing to read."""
        raise RuntimeError(f"images of split {split} were read, but only their number is known")
