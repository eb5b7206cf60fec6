"""Adaptive gradient clipping: limits gradient norms relative to weight norms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from hvd_imgcls.optimizers.extending import Extension, extend
from hvd_imgcls.optimizers.weight_decay import own_name

UnitAxes = Callable[[Any], tuple[int, ...] | None]


def fan_in_axes(variable: Any) -> tuple[int, ...] | None:
    """Returns the axes of one unit's weights; None for no clipping.

    For kernels `[inputs, outputs]` and `[height, width, inputs, outputs]`, a unit is an output.
    For kernels with three dimensions, those of multi-head attention, the first axis is treated
    as the inputs, as in the authors' code. Biases and normalisation, that is, variables with one
    dimension or a name ending in `bias`, have no units. (The authors' code clips them as a whole.)

    Args:
        variable: A `keras.Variable`.
    """
    num_axes = len(variable.shape)
    if num_axes < 2 or own_name(variable).endswith("bias"):
        return None
    return (0,) if num_axes == 3 else tuple(range(num_axes - 1))


def with_adaptive_clipping(
    optimizer: Any,
    *,
    max_ratio: float,
    epsilon: float = 1e-3,
    axes_of: UnitAxes = fan_in_axes,
) -> Any:
    """Returns the optimizer with adaptive gradient clipping.

    Brock et al. 2021 (arXiv:2102.06171, section 4.1, equation 3), applied to reduced and
    unscaled gradients.

    Args:
        optimizer: A Keras optimizer that is not built yet.
        max_ratio: Maximum ratio of a unit's gradient norm to its weight norm: lambda.
        epsilon: Lower bound of the weight norm.
        axes_of: Maps a variable to the axes of one unit's weights; None leaves its gradient
            unchanged, as the paper does for the last layer.

    Raises:
        ConfigError: If the optimizer is already built.
    """
    return extend(
        optimizer, _AdaptivelyClipped, _max_ratio=max_ratio, _epsilon=epsilon, _axes_of=axes_of
    )


class _AdaptivelyClipped(Extension):
    needs_whole_variables = "adaptive clipping"

    _max_ratio: float
    _epsilon: float
    _axes_of: UnitAxes

    def _backend_apply_gradients(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any]
    ) -> None:
        clipped = [
            self._clip(gradient, variable)
            for gradient, variable in zip(grads, trainable_variables, strict=True)
        ]
        super()._backend_apply_gradients(clipped, trainable_variables)  # type: ignore[misc]

    def _clip(self, gradient: Any, variable: Any) -> Any:
        axes = self._axes_of(variable)
        if axes is None:
            return gradient
        gradient, weights = tf.convert_to_tensor(gradient), tf.convert_to_tensor(variable)
        longest = self._max_ratio * tf.maximum(_norm(weights, axes), self._epsilon)
        norm = _norm(gradient, axes)
        factor = longest / tf.maximum(norm, tf.cast(1e-30, norm.dtype))
        return tf.where(norm > longest, gradient * factor, gradient)


def _norm(values: tf.Tensor, axes: tuple[int, ...]) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(values), axis=axes, keepdims=True))
