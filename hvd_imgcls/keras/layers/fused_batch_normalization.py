"""Batch normalisation with TensorFlow's fused operation, for any Keras 3 model.

Keras 3 on TensorFlow composes batch normalisation from about twenty small operations, each of
which passes over the whole activation; Keras 2 used a single one. These classes do so again;
`accelerate` changes the layers of a model to them in-place. Weights, configuration, saved file
and, up to rounding, results are those of `keras.layers.BatchNormalization`.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ReduceOp
from hvd_imgcls.keras.graph.waiting import timed
from hvd_imgcls.keras.layers.present_examples import present_examples
from hvd_imgcls.keras.layers.sync_batch_normalization import SyncBatchNormalization

# Dtypes that the kernels of FusedBatchNormV3 support; statistics are always float32.
_DTYPES = (tf.float32, tf.bfloat16, tf.float16)


class _Fused:
    """Calls the fused operation where it is applicable, else the layer's own implementation."""

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the normalised inputs, `[batch, height, width, channels]`."""
        layer: Any = self
        if not _is_for_the_fused_operation(layer, inputs, training, mask):
            return super().call(inputs, training=training, mask=mask)  # type: ignore[misc]
        gamma, beta = _scale_and_offset(layer)
        if not (training and layer.trainable):
            mean, variance = layer.moving_mean, layer.moving_variance
            return _transform(inputs, gamma, beta, mean, variance, layer.epsilon)
        outputs, mean, variance = self._normalize(inputs, gamma, beta, layer.epsilon)
        _move(layer, mean, variance)
        return outputs

    def _moments(self, inputs: tf.Tensor, mask: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns mean and variance over the examples that count, `[channels]`."""
        present = present_examples()
        if present is not None:
            present = tf.reshape(present, [-1] + [1] * (len(inputs.shape) - 2))
            mask = present if mask is None else tf.logical_and(tf.cast(mask, tf.bool), present)
        return self._masked_moments(inputs, mask)

    def _masked_moments(
        self, inputs: tf.Tensor, mask: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Like `_moments`, with everything that counts in the mask."""
        return super()._moments(inputs, mask)  # type: ignore[misc]

    def _normalize(
        self, inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the outputs of a training batch, and its mean and variance, `[channels]`."""
        raise NotImplementedError


class FusedBatchNormalization(_Fused, keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with the fused operation where it is applicable.

    Inputs with masks, with a rank other than 4, with channels not last, in other
    dtypes or with renormalisation use Keras's implementation.
    """

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The plain layer, for saving."""
        return keras.layers.BatchNormalization

    def _normalize(
        self, inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        def fused() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            result = tf.raw_ops.FusedBatchNormV3(
                x=inputs,
                scale=gamma,
                offset=beta,
                mean=[],
                variance=[],
                epsilon=epsilon,
                is_training=True,
            )
            return result.y, result.batch_mean, _without_bessel(result.batch_variance, inputs)

        def composed() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            values = tf.cast(inputs, tf.float32)
            mean, variance = self._moments(values, None)
            outputs = tf.nn.batch_normalization(values, mean, variance, beta, gamma, epsilon)
            return tf.cast(outputs, inputs.dtype), mean, variance

        present = present_examples()
        return fused() if present is None else tf.cond(tf.reduce_all(present), fused, composed)

    def _masked_moments(
        self, inputs: tf.Tensor, mask: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if mask is None or present_examples() is None:
            return super()._masked_moments(inputs, mask)
        layer: Any = self
        axes = list(layer._reduction_axes)
        weights = tf.broadcast_to(tf.cast(mask, inputs.dtype)[..., tf.newaxis], tf.shape(inputs))
        count = tf.reduce_sum(weights, axes, keepdims=True)
        total = tf.reduce_sum(weights * inputs, axes, keepdims=True)
        mean = tf.math.divide_no_nan(total, count)
        squares = tf.reduce_sum(weights * tf.square(inputs - mean), axes)
        count = tf.reshape(count, [-1])
        variance = tf.math.divide_no_nan(squares, count)
        # A batch of nothing but padding leaves the moving statistics as they are.
        moving = (tf.cast(one, inputs.dtype) for one in (layer.moving_mean, layer.moving_variance))
        of_batch = tf.reshape(mean, [-1]), variance
        mean, variance = (
            tf.where(count > 0, new, old) for new, old in zip(of_batch, moving, strict=True)
        )
        return mean, variance


class FusedSyncBatchNormalization(_Fused, SyncBatchNormalization):
    """`SyncBatchNormalization` with fused operations; one allreduce forward, one backward.

    Collective in training: every rank must call it the same number of times.
    """

    def _normalize(
        self, inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return _normalize_over_ranks(inputs, gamma, beta, epsilon)


def _is_for_the_fused_operation(
    layer: keras.layers.BatchNormalization, inputs: tf.Tensor, training: Any, mask: Any
) -> bool:
    return (
        mask is None
        and not isinstance(training, tf.Tensor)
        and len(inputs.shape) == 4
        and layer.axis in (-1, 3)
        and not layer.renorm
        and inputs.dtype in _DTYPES
        and inputs.dtype == layer.compute_dtype
        and layer.moving_mean.dtype == "float32"
    )


def _scale_and_offset(layer: keras.layers.BatchNormalization) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns gamma and beta, `[channels]` float32; 1 and 0 if the layer has none."""
    size = layer.moving_mean.shape
    gamma = tf.convert_to_tensor(layer.gamma) if layer.scale else tf.ones(size)
    beta = tf.convert_to_tensor(layer.beta) if layer.center else tf.zeros(size)
    return gamma, beta


def _move(layer: keras.layers.BatchNormalization, mean: tf.Tensor, variance: tf.Tensor) -> None:
    """Updates the moving statistics with those of a batch, as Keras does."""
    kept = layer.momentum
    layer.moving_mean.assign(layer.moving_mean * kept + mean * (1.0 - kept))
    layer.moving_variance.assign(layer.moving_variance * kept + variance * (1.0 - kept))


def _without_bessel(variance: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
    """Returns the biased variance, which Keras 3 uses.

    The operation returns the unbiased estimate: the squares divided by `count - 1`.
    """
    count = tf.cast(_count(inputs), tf.float32)
    return variance * ((count - 1.0) / count)


def _count(inputs: tf.Tensor) -> tf.Tensor:
    """Returns the number of values per channel, scalar, int32."""
    return tf.size(inputs) // inputs.shape[-1]


def _transform(
    inputs: tf.Tensor,
    scale: tf.Tensor,
    offset: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    epsilon: float,
) -> tf.Tensor:
    """Returns `scale * (inputs - mean) / sqrt(variance + epsilon) + offset`, per channel."""
    return tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=scale,
        offset=offset,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        is_training=False,
    ).y


def _normalize_over_ranks(
    inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalises by the moments over all ranks. Collective.

    Returns:
        The outputs, and mean and variance over all ranks, `[channels]` float32, without
        gradient.
    """
    present = present_examples()
    count, mean, variance = _moments_over_ranks(tf.stop_gradient(inputs), present)

    @tf.custom_gradient
    def normalize(values: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) -> tuple[tf.Tensor, Any]:
        outputs = _transform(values, scale, offset, mean, variance, epsilon)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            # Gradients of inputs, scale and offset with constant mean and variance.
            fixed = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=upstream,
                x=values,
                scale=scale,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=[],
                epsilon=epsilon,
                is_training=False,
            )
            # Gradients through mean and variance: Ioffe and Szegedy 2015
            # (arXiv:1502.03167, section 3), with sums over all ranks.
            sums = _sum_over_ranks(
                tf.stack([fixed.scale_backprop, fixed.offset_backprop]), "gradient"
            )
            factor = scale * tf.math.rsqrt(variance + epsilon) / count
            through_moments = _transform(
                values, factor * sums[0], factor * sums[1], mean, variance, epsilon
            )
            if present is not None:
                through_moments *= tf.reshape(tf.cast(present, values.dtype), [-1, 1, 1, 1])
            own = fixed.scale_backprop, fixed.offset_backprop
            return fixed.x_backprop - through_moments, *own

        return outputs, gradient

    return normalize(inputs, gamma, beta), mean, variance


def _moments_over_ranks(
    inputs: tf.Tensor, present: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns count, mean and variance over all ranks, float32. Collective.

    The ranks' own moments are combined in float64, so that the difference of the
    squares keeps enough precision even if the mean is large compared with the spread.
    """
    channels = inputs.shape[-1]
    if present is None:
        own = _sums_of_rank(inputs)
    else:
        # Without communication in it, so that the ranks need not agree.
        own = tf.cond(
            tf.reduce_all(present),
            lambda: _sums_of_rank(inputs),
            lambda: _sums_of_rank(tf.boolean_mask(inputs, present)),
        )
    sums = _sum_over_ranks(own, "moments")
    count = sums[-1]
    mean, squares = sums[:channels] / count, sums[channels : 2 * channels] / count
    variance = tf.maximum(squares - mean * mean, 0.0)
    return tf.cast(count, tf.float32), tf.cast(mean, tf.float32), tf.cast(variance, tf.float32)


def _sums_of_rank(inputs: tf.Tensor) -> tf.Tensor:
    """Returns the sums of values and squares per channel, and the count, `[2 channels + 1]`."""
    channels = inputs.shape[-1]
    own = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=tf.ones([channels]),
        offset=tf.zeros([channels]),
        mean=[],
        variance=[],
        is_training=True,
    )
    count = tf.cast(_count(inputs), tf.float64)
    # For no values at all, the operation returns NaN.
    mean = tf.where(count > 0, tf.cast(own.batch_mean, tf.float64), 0.0)
    variance = tf.where(count > 0, tf.cast(own.batch_variance, tf.float64), 0.0)
    # The operation returns the squares divided by `count - 1`; 0 for a single value.
    squares = variance * (count - 1.0) + count * mean * mean
    return tf.concat([count * mean, squares, [count]], 0)


def _sum_over_ranks(tensor: tf.Tensor, what: str) -> tf.Tensor:
    name = f"fused_sync_batch_normalization.{what}"
    ranks = distributed.current()
    return timed(lambda own: ranks.allreduce(own, op=ReduceOp.SUM, name=name), tensor)
