"""The interface of image sources.

Counts, labels and names are available without TensorFlow, so that a run can be planned. A
source holds either arrays of one size (`ArraySource`) or encoded images such as JPEG
files (`EncodedSource`), which `data.decoding` decodes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hvd_imgcls.data.order.splits import Numbers, Split

if TYPE_CHECKING:
    import tensorflow as tf

    from hvd_imgcls.data.order.division import Division


class LabelledImages(ABC):
    """Images with labels, addressed by split and example number.

    Attributes:
        division: How the examples are divided over hosts; None if every rank can read all.
        is_split_at_random: Whether a random fraction is held out, rather than given images.
    """

    division: Division | None = None
    is_split_at_random: bool = False

    @property
    @abstractmethod
    def class_names(self) -> Sequence[str]:
        """Name of every class; a label is an index into it."""

    @property
    @abstractmethod
    def notes(self) -> Sequence[str]:
        """Remarks about the data for the user, one sentence each."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of names, labels and splits; ranks with equal ones see the same examples."""

    @property
    def content_sample(self) -> str:
        """Hash of a sample of the contents; empty if `fingerprint` includes all contents."""
        return ""

    @abstractmethod
    def num_examples(self, split: Split) -> int:
        """Returns the number of examples in a split; they are numbered from 0."""

    @abstractmethod
    def labels(self, split: Split) -> Numbers:
        """Returns the label of every example, `[examples]`, int64."""

    @abstractmethod
    def name_of(self, split: Split, example: int) -> str:
        """Returns the name of an example for messages: its file."""

    def id_of(self, split: Split, example: int) -> str:
        """Returns a name of an image that is the same on every machine, if there is one."""
        return self.name_of(split, example)

    @property
    def encoded(self) -> EncodedSource | None:
        """The image files, with the same example numbers; None if there are none."""
        return None

    @property
    def averaged_classes(self) -> Numbers | None:
        """Classes over which metrics are averaged, `[classes]`, int64; None for all.

        Differs from None if the images are of a subset of the classes of the evaluated model.
        """
        return None

    def columns(self, split: Split) -> Mapping[str, Sequence[str | None]]:
        """Returns additional columns of the examples: values by column."""
        del split
        return {}


class ArraySource(LabelledImages):
    """Images of one size, in memory."""

    @property
    @abstractmethod
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""

    @abstractmethod
    def images(self, split: Split) -> npt.NDArray[np.uint8]:
        """Returns all images, `[examples, height, width, channels]`, uint8."""

    def unreadable(self, split: Split) -> Numbers:
        """Returns the numbers of bad examples, whose images are zeros, `[bad]`, int64."""
        del split
        return np.zeros(0, np.int64)


class EncodedSource(LabelledImages):
    """Encoded images of any size."""

    @property
    def encoded(self) -> EncodedSource:
        """The source itself."""
        return self

    @abstractmethod
    def make_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns a function of tensors for use inside a dataset.

        It takes an example number, scalar int64, and returns the encoded image, scalar string.
        """

    def make_batch_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor] | None:
        """Returns a function from example numbers `[batch]` to encoded images `[batch]`.

        None if reading one by one is as fast.
        """
        del split
        return None


ImageSource = ArraySource | EncodedSource
