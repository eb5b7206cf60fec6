"""The images of a source as they are evaluated: which of them, with the labels of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xxhash

from hvd_imgcls.data.order.splits import SPLITS, Numbers, Split
from hvd_imgcls.data.sources.base import ArraySource, EncodedSource, ImageSource
from hvd_imgcls.data.sources.wrapper import EncodedWrapper, SourceWrapper

if TYPE_CHECKING:
    import tensorflow as tf


def with_classes(
    source: ImageSource, class_names: Sequence[str], label_of: Sequence[int]
) -> ImageSource:
    """Returns the images with labels that are indices into another class list.

    Args:
        source: The images.
        class_names: The other list.
        label_of: Index into it for every class of the source; -1 for classes without images in
            the held-out split.
    """
    labels = np.array(label_of, np.int64)
    keeps_labels = bool(((labels == np.arange(len(labels))) | (labels < 0)).all())
    if keeps_labels and list(class_names) == list(source.class_names):
        return source
    return _view(source, ("held_out",), class_names, labels)


def all_as_held_out(source: ImageSource) -> ImageSource:
    """Returns the images with those of both splits in the held-out split, training images first.

    Args:
        source: The images, not divided over hosts.
    """
    return _view(source, SPLITS, source.class_names, np.arange(len(source.class_names)))


def _view(
    source: ImageSource, splits: Sequence[Split], class_names: Sequence[str], label_of: Numbers
) -> ImageSource:
    if isinstance(source, ArraySource):
        return _EvaluatedArrays(source, splits, class_names, label_of)
    return _EvaluatedFiles(source, splits, class_names, label_of)


class _Evaluated(SourceWrapper):
    """The images of some splits as the held-out split, with other labels.

    Args:
        source: The images.
        splits: The splits whose images form the held-out split, in this order.
        class_names: The class list.
        label_of: Index into it for every class of the source, `[classes of the source]`, int64.
    """

    def __init__(
        self,
        source: ImageSource,
        splits: Sequence[Split],
        class_names: Sequence[str],
        label_of: Numbers,
    ) -> None:
        super().__init__(source)
        self._splits = tuple(splits)
        self._class_names = tuple(class_names)
        self._label_of = label_of

    @property
    def class_names(self) -> Sequence[str]:
        """The class list."""
        return self._class_names

    @property
    def averaged_classes(self) -> Numbers | None:
        """The classes that the images have, if they are a subset of the class list."""
        present = np.unique(self._label_of[self._label_of >= 0])
        return None if len(present) == len(self._class_names) else present

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the source combined with a hash of splits and classes."""
        told = "\0".join([*self._splits, *self._class_names, *map(str, self._label_of.tolist())])
        return f"{self._source.fingerprint}-{xxhash.xxh3_64(told.encode()).hexdigest()}"

    def num_examples(self, split: Split) -> int:
        """Returns the number of examples of a split."""
        return sum(map(self._source.num_examples, self._splits_of(split)))

    def labels(self, split: Split) -> Numbers:
        """Returns the label of every example, `[examples]`, int64."""
        return np.concatenate(
            [self._label_of[self._source.labels(s)] for s in self._splits_of(split)]
        )

    def columns(self, split: Split) -> Mapping[str, Sequence[str | None]]:
        """Returns the columns of the source."""
        columns = [self._source.columns(s) for s in self._splits_of(split)]
        return {name: [v for part in columns for v in part[name]] for name in columns[0]}

    def name_of(self, split: Split, example: int) -> str:
        """Returns the source's name of an example."""
        return self._source.name_of(*self._in_source(split, example))

    def id_of(self, split: Split, example: int) -> str:
        """Returns the name of an image as used in tables."""
        return self._source.id_of(*self._in_source(split, example))

    def _splits_of(self, split: Split) -> tuple[Split, ...]:
        return self._splits if split == "held_out" else (split,)

    def _in_source(self, split: Split, example: int) -> tuple[Split, int]:
        for own in self._splits_of(split)[:-1]:
            number = self._source.num_examples(own)
            if example < number:
                return own, example
            example -= number
        return self._splits_of(split)[-1], example


class _EvaluatedFiles(_Evaluated, EncodedWrapper):
    """Encoded images."""

    _source: EncodedSource

    def make_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns the source's reader, for the examples of all splits."""
        *before, last = self._splits_of(split)
        read = self._source.make_reader(last)
        for own in reversed(before):
            number = self._source.num_examples(own)
            read = _one_after_the_other(self._source.make_reader(own), number, read)
        return read

    def make_batch_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor] | None:
        """Returns the source's batch reader; None if the examples are from two splits."""
        splits = self._splits_of(split)
        return self._source.make_batch_reader(splits[0]) if len(splits) == 1 else None


class _EvaluatedArrays(_Evaluated, ArraySource):
    """Images in memory."""

    _source: ArraySource

    @property
    def encoded(self) -> EncodedSource | None:
        """The same examples of the source's files."""
        encoded = self._source.encoded
        if encoded is None:
            return None
        return _EvaluatedFiles(encoded, self._splits, self._class_names, self._label_of)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Image shape of the source."""
        return self._source.image_shape

    def images(self, split: Split) -> npt.NDArray[np.uint8]:
        """Returns all images, `[examples, height, width, channels]`, uint8."""
        parts = [self._source.images(own) for own in self._splits_of(split)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def unreadable(self, split: Split) -> Numbers:
        """Returns the numbers of bad examples, whose images are zeros, `[bad]`, int64."""
        found, first = [], 0
        for own in self._splits_of(split):
            found.append(self._source.unreadable(own) + first)
            first += self._source.num_examples(own)
        return np.concatenate(found)


def _one_after_the_other(
    read_first: Callable[[tf.Tensor], tf.Tensor],
    number: int,
    read_rest: Callable[[tf.Tensor], tf.Tensor],
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a reader of `number` examples followed by others."""
    import tensorflow as tf

    def read(example: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            example < number, lambda: read_first(example), lambda: read_rest(example - number)
        )

    return read
