"""What augmentations work on, and what one consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

# What happens to each example of a batch: tensors whose first dimension is the batch.
Parameters = tuple[tf.Tensor, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Examples of one epoch, with images of one size."""

    images: tf.Tensor
    """`[batch, height, width, channels]`, uint8, 1 or 3 channels."""

    targets: tf.Tensor
    """`[batch, num_classes]`, float32."""

    examples: tf.Tensor
    """Example numbers, `[batch]`, int64."""

    epoch: tf.Tensor
    """0-based, scalar, int64."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transform:
    """One augmentation of a list, made for images of one size.

    Drawing and changing are apart, and each is compiled by itself, because XLA would otherwise
    compute the random numbers of an example anew for each of its pixels.
    """

    num_words: int
    """Random words that `draw` needs per example."""

    draw: Callable[[tf.Tensor], Parameters]
    """Takes `[num_words, batch]` random words (`hvd_imgcls.data.randomness.random_numbers`)."""

    change_images: Callable[[tf.Tensor, Parameters], tf.Tensor]
    """Takes and returns `[batch, height, width, channels]`, uint8."""

    change_targets: Callable[[tf.Tensor, Parameters], tf.Tensor] | None = None
    """Takes and returns `[batch, num_classes]`, float32. None: targets stay."""

    compile_as_whole: bool = True
    """Whether `change_images` is to be compiled as a whole; False if it compiles its parts."""

    in_pairs_of_epochs: Callable[[Parameters, tf.Tensor], Parameters] | None = None
    """If given: random words are drawn for two epochs at once, and this takes what `draw`
    returned and whether it is the second of them, scalar bool, and returns the parameters.
    """

    mixes: bool = False
    """Whether examples are changed in pairs, so that the batch must be even."""


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function compiled by XLA, once per shape of its arguments.

    Args:
        function: Takes and returns tensors or tuples of them.
    """
    return tf.function(function, jit_compile=True, autograph=False)
