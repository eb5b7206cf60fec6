"""The inputs of augmentations, and the interface of an augmentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

# Random parameters of each example in a batch: tensors whose first dimension is the batch.
Parameters = tuple[tf.Tensor, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Examples of one epoch, with images of one size."""

    images: tf.Tensor
    """`[batch, height, width, channels]`, uint8, 1 or 3 channels."""

    targets: tf.Tensor
    """`[batch, columns]`, float32: a column for each class, or for each example of a pair."""

    examples: tf.Tensor
    """Example numbers, `[batch]`, int64."""

    epoch: tf.Tensor
    """0-based, scalar, int64."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transform:
    """One augmentation, built for images of one size.

    Drawing parameters and changing images are compiled separately, because XLA would otherwise
    recompute the random numbers of an example for each of its pixels.
    """

    num_words: int
    """Number of random words that `draw` needs per example."""

    draw: Callable[[tf.Tensor], Parameters]
    """Takes `[num_words, batch]` random words (`hvd_imgcls.data.randomness.random_numbers`)."""

    change_images: Callable[[tf.Tensor, Parameters], tf.Tensor]
    """Takes and returns `[batch, height, width, channels]`, uint8."""

    change_targets: Callable[[tf.Tensor, Parameters], tf.Tensor] | None = None
    """Takes and returns `[batch, columns]`, float32. None: targets are unchanged."""

    compile_as_whole: bool = True
    """Whether `change_images` is compiled as a whole; False if it compiles its own parts."""

    alternate: Callable[[Parameters, tf.Tensor], Parameters] | None = None
    """Optional. If given, all epochs have the random words of the first; takes the result of `draw`
    and whether this is the second, fourth, ... epoch, scalar bool, and returns the parameters.
    """

    mixes: bool = False
    """Whether examples are processed in pairs, so that the batch size must be even."""


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function with XLA, once per shape of its arguments.

    Args:
        function: Takes and returns tensors or tuples of them.
    """
    return tf.function(function, jit_compile=True, autograph=False)
