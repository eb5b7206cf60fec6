"""Another source's images, seen differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.sources.base import EncodedSource, ImageSource, LabelledImages

if TYPE_CHECKING:
    import tensorflow as tf


class SourceView(LabelledImages):
    """Examples and labels of another source; subclasses override what is different.

    Args:
        source: Where the images are.
    """

    def __init__(self, source: ImageSource) -> None:
        self._source = source
        self.division = source.division

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
        """That of the source."""
        return self._source.fingerprint

    def num_examples(self, split: Split) -> int:
        """Returns the number of examples of a split."""
        return self._source.num_examples(split)

    def labels(self, split: Split) -> Numbers:
        """Returns the label of every example, `[examples]`, int64."""
        return self._source.labels(split)

    def columns(self, split: Split) -> Mapping[str, Sequence[str | None]]:
        """Returns the source's."""
        return self._source.columns(split)

    def name_of(self, split: Split, example: int) -> str:
        """Returns the source's name of an example."""
        return self._source.name_of(split, example)

    def id_of(self, split: Split, example: int) -> str:
        """Returns the name that a table knows an image by."""
        return self._source.id_of(split, example)


class EncodedView(SourceView, EncodedSource):
    """Encoded images of another source.

    Args:
        source: Where the images are.
    """

    _source: EncodedSource

    def __init__(self, source: EncodedSource) -> None:
        super().__init__(source)

    @property
    def source(self) -> EncodedSource:
        """Where the images are."""
        return self._source

    def make_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns the source's reader."""
        return self._source.make_reader(split)

    def make_batch_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor] | None:
        """Returns the source's reader of batches."""
        return self._source.make_batch_reader(split)
