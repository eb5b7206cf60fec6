"""Synthetic runs for the benchmarks: plans on one rank, and small images in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hvd_imgcls.config import RunConfig
from hvd_imgcls.data import ArraySource, ImageSource, Split, make_plan_for
from hvd_imgcls.data.order.splits import Numbers
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.plan import Plan


class SyntheticImages(ArraySource):
    """Random pixels in the shape of CIFAR-10, as expensive to process as real images.

    Args:
        num_train: Training images.
        num_held_out: Held-out images.
    """

    def __init__(self, num_train: int = 50_000, num_held_out: int = 10_000) -> None:
        self._numbers: dict[Split, int] = {"train": num_train, "held_out": num_held_out}

    @property
    def class_names(self) -> Sequence[str]:
        """Ten."""
        return tuple("abcdefghij")

    @property
    def notes(self) -> Sequence[str]:
        """No remarks."""
        return ()

    @property
    def fingerprint(self) -> str:
        """Constant, since there is only one such dataset."""
        return f"made-up-{self._numbers}"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """32 by 32 pixels, RGB."""
        return 32, 32, 3

    def num_examples(self, split: Split) -> int:
        """Returns the number of examples of a split."""
        return self._numbers[split]

    def labels(self, split: Split) -> Numbers:
        """Returns the label of every example, `[examples]`, int64."""
        return np.arange(self._numbers[split], dtype=np.int64) % 10

    def images(self, split: Split) -> npt.NDArray[np.uint8]:
        """Returns all images, `[examples, 32, 32, 3]`, uint8."""
        random = np.random.default_rng(len(split))
        return random.integers(0, 256, (self._numbers[split], *self.image_shape), dtype=np.uint8)

    def name_of(self, split: Split, example: int) -> str:
        """Returns the example number."""
        return f"synthetic {split} image {example}"


def plan_of(source: ImageSource, config: RunConfig) -> Plan:
    """Returns the plan of a run on one rank, with the cores of this process."""
    return make_plan_for(source, config, Topology.on_hosts(0, 1, 1))
