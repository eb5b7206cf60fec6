"""Means of values in fewer bits: every rank averages a part of them for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ProcessSet
from hvd_imgcls.keras.compression.codecs import Codec
from hvd_imgcls.keras.compression.lossy_mean import LossyMean, flat, split_like
from hvd_imgcls.keras.compression.settings import LossyCompression
from hvd_imgcls.keras.graph.variables import native_variable


class QuantizedMean(LossyMean):
    """An alltoall of encoded parts, sums in float32, and an allgather of the encoded means.

    Sends as many bytes as an allreduce of the encoded values, without rounding partial sums.

    Args:
        settings: The compression.
        process_set: The participating ranks, at least two.
        codec: Encodes values.
    """

    def __init__(self, settings: LossyCompression, process_set: ProcessSet, codec: Codec) -> None:
        super().__init__(settings, process_set)
        self._codec = codec

    def _mean_of_group(
        self, tensors: list[tf.Tensor], variables: list[Any], name: str
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """See `LossyMean`. Collective: every rank must call this."""
        values = flat(tensors)
        num_values, part = values.shape[0], self._part(values.shape[0])
        values = tf.pad(values, [[0, part * self.size - num_values]])
        encoded = self._codec.encode(values)
        own_mean, mean = self._exchange(encoded, part, name)
        sent = self._codec.decode(encoded) + self._second_loss(own_mean, mean, part)
        return split_like(mean[:num_values], tensors), split_like(sent[:num_values], tensors)

    def _exchange(self, encoded: tf.Tensor, part: int, name: str) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the means of this rank's part, and the decoded means of all parts."""
        codec, size, ranks = self._codec, self.size, distributed.current()
        bytes_per_part = part // codec.block_size * codec.bytes_per_block
        blocks = [size * part // codec.block_size, codec.bytes_per_block]
        received, _ = ranks.alltoall(
            tf.reshape(encoded, [-1]),
            tf.constant([bytes_per_part] * size, tf.int32),
            name=f"{name}.parts",
            process_set=self.process_set,
        )
        values = codec.decode(tf.reshape(received, blocks))
        own_mean = tf.reduce_mean(tf.reshape(values, [size, part]), axis=0)
        gathered = ranks.allgather(
            tf.reshape(codec.encode(own_mean), [-1]),
            name=f"{name}.means",
            process_set=self.process_set,
        )
        return own_mean, codec.decode(tf.reshape(gathered, blocks))

    def _second_loss(self, own_mean: tf.Tensor, mean: tf.Tensor, part: int) -> tf.Tensor:
        """Returns what encoding the means has changed, as a contribution of this rank."""
        start = part * (self.process_set.rank() or 0)
        loss = (mean[start : start + part] - own_mean) * float(self.size)
        return tf.pad(loss, [[start, mean.shape[0] - start - part]])

    def _part(self, num_values: int) -> int:
        """Returns how many values a rank averages: the same for all, whole blocks."""
        block = self._codec.block_size
        return -(-num_values // (self.size * block)) * block

    def bytes_sent(self, variables: Sequence[Any]) -> int:
        """See `LossyMean.bytes_sent`."""
        num_values = sum(native_variable(v).shape.num_elements() for v in variables)
        blocks = self._part(num_values) // self._codec.block_size
        return 2 * (self.size - 1) * blocks * self._codec.bytes_per_block
