"""Compression of gradients for communication.

The interface is Horovod's, so a compressor written for it works here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import tensorflow as tf

from hvd_imgcls.keras.compression import settings


class Compressor(ABC):
    """Interface of a compressor: two static functions.

    Attributes:
        relative_tolerance: Maximum error, relative to the mean absolute value over the
            ranks, that the check of the first update accepts. None if there is
            no such bound; then only equality across ranks is checked.
        absolute_tolerance: The same in units of the gradient, for tiny values.
    """

    relative_tolerance: float | None = None
    absolute_tolerance: float = 0.0

    @staticmethod
    @abstractmethod
    def compress(tensor: tf.Tensor) -> tuple[tf.Tensor, Any]:
        """Returns the tensor to send, and the context for `decompress`."""

    @staticmethod
    @abstractmethod
    def decompress(tensor: tf.Tensor, ctx: Any) -> tf.Tensor:
        """Returns the reduced tensor in its original dtype."""


class NoneCompressor(Compressor):
    """Sends tensors uncompressed."""

    # The error of a float32 sum over n ranks is below n * 2**-24 of the sum of absolute
    # values; 1e-5 suffices for 100 ranks.
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

    Values above 65504 become infinite and values below 6e-8 zero; with loss scaling,
    an overflow is detected and the step is skipped on all ranks.
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
    """Options for `DistributedOptimizer(compression=...)`.

    The last five are classes of settings: `Compression.power_sgd(rank=4, warmup_steps=100)`.
    """

    none = NoneCompressor
    fp16 = FP16Compressor
    bf16 = settings.BFloat16
    int8 = settings.Int8
    top_k = settings.TopK
    power_sgd = settings.PowerSGD
    auto = settings.Automatic
