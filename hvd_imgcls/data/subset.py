"""A part of a source's training images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xxhash

from hvd_imgcls.config import RunConfig
from hvd_imgcls.data.encoded_view import EncodedView
from hvd_imgcls.data.source import ArraySource, EncodedSource, ImageSource, Numbers, Split

if TYPE_CHECKING:
    import tensorflow as tf

# Apart from the seeds of other choices by class.
_PURPOSE = 7


def labelled_part(source: ImageSource, config: RunConfig) -> ImageSource:
    """Returns the images that are trained on with labels: `data.labelled_fraction` of them.

    Args:
        source: All images.
        config: Says which part of each class, and the seed.

    Returns:
        The source itself if that is all of them.
    """
    fraction = config.data.labelled_fraction
    if fraction == 1.0:
        return source
    chosen = choose_labelled(source.labels("train"), fraction, config.train.seed)
    if isinstance(source, ArraySource):
        return _PartOfArrays(source, chosen)
    return _PartOfFiles(source, chosen)


def choose_labelled(labels: Numbers, fraction: float, seed: int) -> Numbers:
    """Returns the chosen examples of every class, ascending, `[chosen]`, int64.

    The number of each class is rounded, but at least one. A larger fraction of the same seed
    holds all examples of a smaller one.

    Args:
        labels: `[examples]`, int64, from 0.
        fraction: Above 0, at most 1.
        seed: `train.seed`.
    """
    chosen = []
    for label in np.unique(labels).tolist():
        of_class = np.flatnonzero(labels == label)
        sequence = np.random.SeedSequence([seed, _PURPOSE, label])
        order = np.random.Generator(np.random.Philox(sequence)).permutation(of_class)
        chosen.append(order[: max(1, round(len(of_class) * fraction))])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def _fingerprint(source: ImageSource, chosen: Numbers) -> str:
    return f"{source.fingerprint}-{xxhash.xxh3_64(chosen.tobytes()).hexdigest()}"


def _chosen_columns(
    columns: Mapping[str, Sequence[str | None]], chosen: Numbers | None
) -> Mapping[str, Sequence[str | None]]:
    if chosen is None:
        return columns
    return {name: [values[row] for row in chosen.tolist()] for name, values in columns.items()}


class _PartOfFiles(EncodedView):
    """Some training images of an encoded source, numbered from 0, and its held-out ones."""

    def __init__(self, source: EncodedSource, chosen: Numbers) -> None:
        super().__init__(source)
        self._chosen = chosen

    @property
    def fingerprint(self) -> str:
        """That of the source and a hash of what is chosen."""
        return _fingerprint(self._source, self._chosen)

    def num_examples(self, split: Split) -> int:
        """Returns the number of examples of a split."""
        return len(self._chosen) if split == "train" else super().num_examples(split)

    def labels(self, split: Split) -> Numbers:
        """Returns the label of every example, `[examples]`, int64."""
        labels = super().labels(split)
        return labels[self._chosen] if split == "train" else labels

    def columns(self, split: Split) -> Mapping[str, Sequence[str | None]]:
        """Returns the source's, of the chosen examples."""
        return _chosen_columns(super().columns(split), self._chosen if split == "train" else None)

    def name_of(self, split: Split, example: int) -> str:
        """Returns the source's name of an example."""
        return super().name_of(split, self._there(split, example))

    def id_of(self, split: Split, example: int) -> str:
        """Returns the name that a table knows an image by."""
        return super().id_of(split, self._there(split, example))

    def make_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns the source's reader, of the chosen examples."""
        return self._of_chosen(split, super().make_reader(split))

    def make_batch_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor] | None:
        """Returns the source's reader of batches, of the chosen examples."""
        read = super().make_batch_reader(split)
        return None if read is None else self._of_chosen(split, read)

    def _there(self, split: Split, example: int) -> int:
        return int(self._chosen[example]) if split == "train" else example

    def _of_chosen(
        self, split: Split, read: Callable[[tf.Tensor], tf.Tensor]
    ) -> Callable[[tf.Tensor], tf.Tensor]:
        import tensorflow as tf

        if split != "train":
            return read
        chosen = tf.constant(self._chosen)
        return lambda examples: read(tf.gather(chosen, examples))


class _PartOfArrays(ArraySource):
    """Some training images of a source of arrays, numbered from 0, and its held-out ones."""

    def __init__(self, source: ArraySource, chosen: Numbers) -> None:
        self._source = source
        self._chosen = chosen

    @property
    def class_names(self) -> Sequence[str]:
        """Those of the source."""
        return self._source.class_names

    @property
    def notes(self) -> Sequence[str]:
        """Those of the source."""
        return self._source.notes

    @property
    def fingerprint(self) -> str:
        """That of the source and a hash of what is chosen."""
        return _fingerprint(self._source, self._chosen)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """That of the source."""
        return self._source.image_shape

    def num_examples(self, split: Split) -> int:
        """Returns the number of examples of a split."""
        return len(self._chosen) if split == "train" else self._source.num_examples(split)

    def labels(self, split: Split) -> Numbers:
        """Returns the label of every example, `[examples]`, int64."""
        labels = self._source.labels(split)
        return labels[self._chosen] if split == "train" else labels

    def images(self, split: Split) -> npt.NDArray[np.uint8]:
        """Returns all images, `[examples, height, width, channels]`, uint8."""
        images = self._source.images(split)
        return images[self._chosen] if split == "train" else images

    def unreadable(self, split: Split) -> Numbers:
        """Returns the numbers of examples that have zeros for an image, `[bad]`, int64."""
        bad = self._source.unreadable(split)
        return np.flatnonzero(np.isin(self._chosen, bad)) if split == "train" else bad

    def columns(self, split: Split) -> Mapping[str, Sequence[str | None]]:
        """Returns the source's, of the chosen examples."""
        return _chosen_columns(
            self._source.columns(split), self._chosen if split == "train" else None
        )

    def name_of(self, split: Split, example: int) -> str:
        """Returns the source's name of an example."""
        return self._source.name_of(
            split, int(self._chosen[example]) if split == "train" else example
        )
