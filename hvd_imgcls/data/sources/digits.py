"""The scanned handwritten digits included in scikit-learn; nothing is downloaded.

1,797 images from the test part of "Optical Recognition of Handwritten Digits" (Alpaydin
and Kaynak 1998, UCI Machine Learning Repository), 8 by 8 pixels with 17 grey levels.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.sources.base import ArraySource
from hvd_imgcls.data.sources.splitting import choose_held_out, num_held_out
from hvd_imgcls.errors import DataError

# Images per class, to plan a run without loading scikit-learn. Verified on loading.
CLASS_COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)
MAX_LEVEL = 16


class Digits(ArraySource):
    """The digits, split into "train" and "held_out" within each class.

    Args:
        held_out_fraction: Fraction of every class that is held out, between 0 and 1.
        split_seed: Seed of the random split.
    """

    is_split_at_random = True

    def __init__(self, held_out_fraction: float, split_seed: int) -> None:
        self._split_seed = split_seed
        self._held_out_fraction = held_out_fraction

    @property
    def class_names(self) -> tuple[str, ...]:
        """The ten digits."""
        return tuple("0123456789")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """8 by 8 pixels, grey."""
        return 8, 8, 1

    @property
    def notes(self) -> tuple[str, ...]:
        """No remarks."""
        return ()

    @property
    def fingerprint(self) -> str:
        """Covers only the split, since the images are verified on loading."""
        return f"digits-{self._held_out_fraction}-{self._split_seed}"

    def num_examples(self, split: Split) -> int:
        """Returns the number of examples of a split."""
        held_out = num_held_out(np.array(CLASS_COUNTS), self._held_out_fraction)
        return int(held_out.sum() if split == "held_out" else sum(CLASS_COUNTS) - held_out.sum())

    def images(self, split: Split) -> npt.NDArray[np.uint8]:
        """Returns all images, `[examples, 8, 8, 1]`, uint8."""
        images, labels = _load()
        return images[self._chosen(labels, split)]

    def labels(self, split: Split) -> Numbers:
        """Returns the label of every example, `[examples]`, int64."""
        _, labels = _load()
        return labels[self._chosen(labels, split)]

    def name_of(self, split: Split, example: int) -> str:
        """Returns which of scikit-learn's images an example is."""
        _, labels = _load()
        return f"scikit-learn's digits, image {self._chosen(labels, split)[example]}"

    def _chosen(self, labels: Numbers, split: Split) -> Numbers:
        """Returns the indices of a split's images, in their original order."""
        is_held_out = choose_held_out(labels, self._held_out_fraction, self._split_seed)
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
