"""What every source of images offers, wherever the images are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import tensorflow as tf

Split = Literal["train", "held_out"]
SPLITS: tuple[Split, ...] = ("train", "held_out")


class ImageSource(Protocol):
    """Images with labels, told apart by split and example number.

    Counts and names are known without TensorFlow, so that a run can be planned.
    """

    @property
    def class_names(self) -> Sequence[str]:
        """Name of every class; a label is a position in it."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images that `make_reader`'s reader returns."""

    def num_examples(self, split: Split) -> int:
        """Returns the number of examples of a split; they are numbered from 0."""

    def make_reader(self, split: Split) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """Returns a function of tensors that can run inside a dataset.

        It takes example numbers, `[batch]` int64, and returns images
        `[batch, height, width, channels]`, uint8, and labels `[batch]`, int64.
        """
