"""Base classes of sources that wrap another source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.sources.base import EncodedSource, ImageSource, LabelledImages

if TYPE_CHECKING:
    import tensorflow as tf


class SourceWrapper(LabelledImages):
    """Wraps the examples and labels of another source; subclasses override what differs.

    Args:
        source: The wrapped source.
    """

    def __init__(self, source: ImageSource) -> None:
        self._source = source
        self.division = source.division
        self.is_split_at_random = source.is_split_at_random

    @property
    def class_names(self) -> Sequence[str]:
        """Class names of the wrapped source."""
        return self._source.class_names

    @property
    def notes(self) -> Sequence[str]:
        """Remarks of the wrapped source."""
        return self._source.notes

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the wrapped source."""
        return self._source.fingerprint

    @property
    def content_sample(self) -> str:
        """Sample of the wrapped source."""
        return self._source.content_sample

    def num_examples(self, split: Split) -> int:
        """Returns the number of examples of a split."""
        return self._source.num_examples(split)

    def labels(self, split: Split) -> Numbers:
        """Returns the label of every example, `[examples]`, int64."""
        return self._source.labels(split)

    def columns(self, split: Split) -> Mapping[str, Sequence[str | None]]:
        """Returns the columns of the wrapped source."""
        return self._source.columns(split)

    @property
    def averaged_classes(self) -> Numbers | None:
        """Classes over which metrics are averaged."""
        return self._source.averaged_classes

    def name_of(self, split: Split, example: int) -> str:
        """Returns the wrapped source's name of an example."""
        return self._source.name_of(split, example)

    def id_of(self, split: Split, example: int) -> str:
        """Returns the name of an image as used in tables."""
        return self._source.id_of(split, example)


class EncodedWrapper(SourceWrapper, EncodedSource):
    """Wraps a source of encoded images.

    Args:
        source: The wrapped source.
    """

    _source: EncodedSource

    def __init__(self, source: EncodedSource) -> None:
        super().__init__(source)

    @property
    def source(self) -> EncodedSource:
        """The wrapped source."""
        return self._source

    def make_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns the reader of the wrapped source."""
        return self._source.make_reader(split)

    def make_batch_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor] | None:
        """Returns the batch reader of the wrapped source."""
        return self._source.make_batch_reader(split)
