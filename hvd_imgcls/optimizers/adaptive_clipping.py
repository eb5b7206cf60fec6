"""Adaptive gradient clipping: a gradient may be a fraction of the weights it changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from hvd_imgcls.optimizers.extending import Extension, extend
from hvd_imgcls.optimizers.weight_decay import own_name

UnitAxes = Callable[[Any], tuple[int, ...] | None]


def fan_in_axes(variable: Any) -> tuple[int, ...] | None:
    """Returns the axes that one unit's weights lie along; None for no clipping.

    Of kernels `[inputs, outputs]` and `[height, width, inputs, outputs]` a unit is an output.
    Of kernels of three dimensions, those of several attention heads, the first axis is taken for
    the inputs, as in the authors' code. Biases and normalisation, that is what has one dimension
    or a name that ends in `bias`, have no units. (The authors' code clips them as a whole.)

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

    Brock et al. 2021 (arXiv:2102.06171, section 4.1, equation 3), on gradients that are reduced
    and unscaled already.

    Args:
        optimizer: A Keras optimizer that is not built yet.
        max_ratio: Norm of a unit's gradient divided by that of its weights, at most: lambda.
        epsilon: Norm that weights have at least.
        axes_of: From a variable to the axes that one unit's weights lie along; None leaves its
            gradient as it is, as the paper does with the last layer.

    Raises:
        ConfigError: If the optimizer is built already.
    """
    return extend(
        optimizer, _AdaptivelyClipped, _max_ratio=max_ratio, _epsilon=epsilon, _axes_of=axes_of
    )


class _AdaptivelyClipped(Extension):
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
