"""A subset of a source's training images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xxhash

from hvd_imgcls.config import RunConfig
from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.randomness.generators import generator_of
from hvd_imgcls.data.sources.base import ArraySource, EncodedSource, ImageSource
from hvd_imgcls.data.sources.wrapper import EncodedWrapper, SourceWrapper

if TYPE_CHECKING:
    import tensorflow as tf

# Separates the random stream from other uses of the same seed.
_PURPOSE = 7


def labelled_part(source: ImageSource, config: RunConfig) -> ImageSource:
    """Returns the images used for supervised training: a fraction `data.labelled_fraction`.

    Args:
        source: All images.
        config: Defines the fraction and the seed.

    Returns:
        The source itself if the fraction is 1.
    """
    fraction = config.data.labelled_fraction
    if fraction == 1.0:
        return source
    chosen = choose_labelled(source.labels("train"), fraction, config.train.seed)
    if isinstance(source, ArraySource):
        return _PartOfArrays(source, chosen)
    return _PartOfFiles(source, chosen)


def choose_labelled(labels: Numbers, fraction: float, seed: int) -> Numbers:
    """Chooses labelled examples of every class, ascending, `[chosen]`, int64.

    The number per class is rounded, but at least one. With the same seed, a larger fraction
    includes all examples of a smaller one.

    Args:
        labels: `[examples]`, int64, from 0.
        fraction: Above 0, at most 1.
        seed: `train.seed`.
    """
    chosen = []
    for label in np.unique(labels).tolist():
        of_class = np.flatnonzero(labels == label)
        order = generator_of(seed, _PURPOSE, label).permutation(of_class)
        chosen.append(order[: max(1, round(len(of_class) * fraction))])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


class _Part(SourceWrapper):
    """Some training examples of a source, renumbered from 0, and all its held-out examples.

    Args:
        source: All images.
        chosen: Numbers of the training examples, ascending, `[chosen]`, int64.
    """

    def __init__(self, source: ImageSource, chosen: Numbers) -> None:
        super().__init__(source)
        self._chosen = chosen

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the source combined with a hash of the chosen examples."""
        return f"{super().fingerprint}-{xxhash.xxh3_64(self._chosen.tobytes()).hexdigest()}"

    def num_examples(self, split: Split) -> int:
        """Returns the number of examples of a split."""
        return len(self._chosen) if split == "train" else super().num_examples(split)

    def labels(self, split: Split) -> Numbers:
        """Returns the label of every example, `[examples]`, int64."""
        labels = super().labels(split)
        return labels[self._chosen] if split == "train" else labels

    def columns(self, split: Split) -> Mapping[str, Sequence[str | None]]:
        """Returns the source's columns for the chosen examples."""
        columns = super().columns(split)
        if split != "train":
            return columns
        rows = self._chosen.tolist()
        return {name: [values[row] for row in rows] for name, values in columns.items()}

    def name_of(self, split: Split, example: int) -> str:
        """Returns the source's name of an example."""
        return super().name_of(split, self._number_in_source(split, example))

    def id_of(self, split: Split, example: int) -> str:
        """Returns the name of an image as used in tables."""
        return super().id_of(split, self._number_in_source(split, example))

    def _number_in_source(self, split: Split, example: int) -> int:
        return int(self._chosen[example]) if split == "train" else example


class _PartOfFiles(_Part, EncodedWrapper):
    """A subset of encoded images."""

    def make_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns the source's reader, for the chosen examples."""
        return self._of_chosen(split, super().make_reader(split))

    def make_batch_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor] | None:
        """Returns the source's batch reader, for the chosen examples."""
        read = super().make_batch_reader(split)
        return None if read is None else self._of_chosen(split, read)

    def _of_chosen(
        self, split: Split, read: Callable[[tf.Tensor], tf.Tensor]
    ) -> Callable[[tf.Tensor], tf.Tensor]:
        import tensorflow as tf

        if split != "train":
            return read
        chosen = tf.constant(self._chosen)
        return lambda examples: read(tf.gather(chosen, examples))


class _PartOfArrays(_Part, ArraySource):
    """A subset of images in memory."""

    _source: ArraySource

    @property
    def encoded(self) -> EncodedSource | None:
        """The same subset of the source's files."""
        encoded = self._source.encoded
        return None if encoded is None else _PartOfFiles(encoded, self._chosen)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Image shape of the source."""
        return self._source.image_shape

    def images(self, split: Split) -> npt.NDArray[np.uint8]:
        """Returns all images, `[examples, height, width, channels]`, uint8."""
        images = self._source.images(split)
        return images[self._chosen] if split == "train" else images

    def unreadable(self, split: Split) -> Numbers:
        """Returns the numbers of bad examples, whose images are zeros, `[bad]`, int64."""
        bad = self._source.unreadable(split)
        return np.flatnonzero(np.isin(self._chosen, bad)) if split == "train" else bad
