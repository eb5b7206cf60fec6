"""What gradients are turned into before they travel, and back.

The interface is Horovod's, so a compressor written for it works here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import tensorflow as tf


class Compressor(ABC):
    """Interface of a compressor: two static functions.

    Attributes:
        relative_tolerance: Largest error, relative to the mean absolute value over the
            ranks, that the check of the first update puts up with. None if there is
            no such bound; then only equality over the ranks is checked.
        absolute_tolerance: The same in the gradient's own unit, for tiny values.
    """

    relative_tolerance: float | None = None
    absolute_tolerance: float = 0.0

    @staticmethod
    @abstractmethod
    def compress(tensor: tf.Tensor) -> tuple[tf.Tensor, Any]:
        """Returns what travels and what `decompress` needs to know."""

    @staticmethod
    @abstractmethod
    def decompress(tensor: tf.Tensor, ctx: Any) -> tf.Tensor:
        """Returns the reduced tensor in its original dtype."""


class NoneCompressor(Compressor):
    """Sends tensors as they are."""

    # A float32 sum over n ranks is off by less than n * 2**-24 of the sum of absolute
    # values; 1e-5 leaves room for 100 ranks.
    relative_tolerance = 1e-5
    absolute_tolerance = 1e-30

    @staticmethod
    def compress(tensor: tf.Tensor) -> tuple[tf.Tensor, Any]:
        """See `Compressor.compress`."""
        return tensor, None

    @staticmethod
    def decompress(tensor: tf.Tensor, ctx: Any) -> tf.Tensor:
        """See `Compressor.decompress`."""
        return tensor


class FP16Compressor(Compressor):
    """Sends floating-point tensors as float16: half the bytes, 11 bits of precision.

    Values above 65504 become infinite and values below 6e-8 zero; under loss scaling
    an overflow is noticed and the step is skipped on all ranks.
    """

    # 2**-11 for each operand and each partial sum; 6e-8 is the smallest float16.
    relative_tolerance = 1e-2
    absolute_tolerance = 1.2e-7

    @staticmethod
    def compress(tensor: tf.Tensor) -> tuple[tf.Tensor, Any]:
        """See `Compressor.compress`."""
        if tensor.dtype.is_floating and tensor.dtype.size > 2:
            return tf.cast(tensor, tf.float16), tensor.dtype
        return tensor, None

    @staticmethod
    def decompress(tensor: tf.Tensor, ctx: Any) -> tf.Tensor:
        """See `Compressor.decompress`."""
        return tensor if ctx is None else tf.cast(tensor, ctx)


class Compression:
    """The choices for `DistributedOptimizer(compression=...)`."""

    none = NoneCompressor
    fp16 = FP16Compressor
