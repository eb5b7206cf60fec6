"""The scanned handwritten digits that come with scikit-learn: no download.

1,797 images from the test part of "Optical Recognition of Handwritten Digits" (Alpaydin
and Kaynak 1998, UCI Machine Learning Repository), 8 by 8 pixels in 17 levels of grey.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hvd_imgcls.data.source import Split
from hvd_imgcls.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf

# Images per class, so that a run is planned without loading scikit-learn. Checked on loading.
CLASS_COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)
MAX_LEVEL = 16

Numbers = npt.NDArray[np.int64]


class Digits:
    """The digits, split into "train" and "held_out" class by class.

    Args:
        held_out_fraction: Fraction of every class that is held out, between 0 and 1.
        split_seed: Seed of the choice.
    """

    def __init__(self, held_out_fraction: float, split_seed: int) -> None:
        self._split_seed = split_seed
        self._num_held_out = [round(count * held_out_fraction) for count in CLASS_COUNTS]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The ten digits."""
        return tuple("0123456789")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """8 by 8 pixels, grey."""
        return 8, 8, 1

    def num_examples(self, split: Split) -> int:
        """Returns the number of examples of a split."""
        num_held_out = sum(self._num_held_out)
        return num_held_out if split == "held_out" else sum(CLASS_COUNTS) - num_held_out

    def arrays(self, split: Split) -> tuple[npt.NDArray[np.uint8], Numbers]:
        """Returns images `[examples, 8, 8, 1]`, uint8, and labels `[examples]`, int64."""
        images, labels = _load()
        chosen = self._chosen(labels, split)
        return images[chosen], labels[chosen]

    def make_reader(self, split: Split) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """Returns a function from example numbers to images and labels."""
        import tensorflow as tf

        images, labels = (tf.constant(array) for array in self.arrays(split))

        def read(examples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return tf.gather(images, examples), tf.gather(labels, examples)

        return read

    def _chosen(self, labels: Numbers, split: Split) -> Numbers:
        """Returns the positions of a split's images, in the order of the original."""
        is_held_out = np.zeros(len(labels), dtype=bool)
        for label, num_held_out in enumerate(self._num_held_out):
            sequence = np.random.SeedSequence([self._split_seed, label])
            generator = np.random.Generator(np.random.Philox(sequence))
            of_class = np.flatnonzero(labels == label)
            is_held_out[generator.permutation(of_class)[:num_held_out]] = True
        return np.flatnonzero(is_held_out if split == "held_out" else ~is_held_out)


@functools.cache
def _load() -> tuple[npt.NDArray[np.uint8], Numbers]:
    """Returns all images, scaled to 0 .. 255, and labels, in scikit-learn's order."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    labels = np.asarray(digits.target, dtype=np.int64)
    found = tuple(int(count) for count in np.bincount(labels))
    if found != CLASS_COUNTS:
        raise DataError(
            f"data.source: scikit-learn's digits hold {found} images per class, expected "
            f"{CLASS_COUNTS}; install the scikit-learn of the lock file"
        )
    levels = np.asarray(digits.images, dtype=np.float64)[..., np.newaxis]
    return np.round(levels * (255 / MAX_LEVEL)).astype(np.uint8), labels
