"""Means of matrices as products of two factors of low rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ReduceOp
from hvd_imgcls.keras.compression.lossy_mean import LossyMean, Residuals
from hvd_imgcls.keras.graph.variables import native_variable

_EPSILON = 1e-8
"""Of the reference implementation, epfml/powersgd: keeps a zero column from becoming NaN."""


class PowerSGDMean(LossyMean):
    """One step of subspace iteration per update, from the factors of the update before.

    Algorithm 1 of Vogels et al. 2019 (arXiv:1905.13727).
    """

    _factors: dict[int, tf.Variable]

    def build(self, variables: Sequence[Any], residuals: Residuals | None = None) -> None:
        """See `LossyMean.build`."""
        super().build(variables, residuals)
        self._factors = {}
        compressed = [native_variable(v) for v in variables if self.compresses(v)]
        with tf.init_scope():
            for number, native in enumerate(compressed):
                _, columns = _sides(native.shape)
                # The same on all ranks.
                generator = np.random.default_rng([self.settings.seed, number])
                first = generator.standard_normal((columns, self.settings.rank))
                self._factors[id(native)] = tf.Variable(first.astype(np.float32), trainable=False)

    def _can_compress(self, variable: Any) -> bool:
        """Returns whether the factors have at most half as many values as the matrix."""
        if not super()._can_compress(variable):
            return False
        rows, columns = _sides(native_variable(variable).shape)
        return 2 * self.settings.rank * (rows + columns) <= rows * columns

    def _mean_of_group(
        self, tensors: list[tf.Tensor], variables: list[Any], name: str
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """See `LossyMean`. Collective: every rank must call this."""
        factors = [self._factors[id(native_variable(variable))] for variable in variables]
        matrices = [tf.reshape(tensor, _sides(tensor.shape)) for tensor in tensors]
        left = self._average(
            [tf.matmul(m, q.read_value()) for m, q in zip(matrices, factors, strict=True)],
            f"{name}.left",
        )
        left = [orthogonal(p) for p in left]
        own = [tf.matmul(m, p, transpose_a=True) for m, p in zip(matrices, left, strict=True)]
        right = self._average(own, f"{name}.right")
        for factor, q in zip(factors, right, strict=True):
            # A column of zeros would remain one for good.
            size = tf.reduce_sum(tf.abs(q), axis=0)
            is_usable = tf.logical_and(tf.math.is_finite(size), size > 0.0)
            factor.assign(tf.where(is_usable, q, factor))
        return _products(left, right, tensors), _products(left, own, tensors)

    def _average(self, tensors: list[tf.Tensor], name: str) -> list[tf.Tensor]:
        return distributed.current().grouped_allreduce(
            tensors, op=ReduceOp.AVERAGE, name=name, process_set=self.process_set
        )

    def bytes_sent(self, variables: Sequence[Any]) -> int:
        """See `LossyMean.bytes_sent`."""
        sides = [_sides(native_variable(variable).shape) for variable in variables]
        num_values = self.settings.rank * sum(rows + columns for rows, columns in sides)
        return round(2 * (self.size - 1) / self.size * 4 * num_values)

    def state(self, variables: Sequence[Any]) -> dict[str, Any]:
        """Returns the factors."""
        found = (self._factors.get(id(native_variable(variable))) for variable in variables)
        return {"factors": [factor.numpy() for factor in found if factor is not None]}

    def restore(self, state: dict[str, Any], variables: Sequence[Any]) -> None:
        """Restores the result of `state`."""
        found = (self._factors.get(id(native_variable(variable))) for variable in variables)
        factors = [factor for factor in found if factor is not None]
        for factor, value in zip(factors, state["factors"], strict=True):
            factor.assign(value)


def orthogonal(matrix: tf.Tensor) -> tf.Tensor:
    """Returns a matrix with orthonormal columns of the same span, by Gram-Schmidt.

    Args:
        matrix: `[rows, columns]`, float32, of few columns.
    """
    columns: list[tf.Tensor] = []
    for column in tf.unstack(matrix, axis=1):
        rest = column
        for earlier in columns:
            rest -= tf.reduce_sum(earlier * rest) * earlier
        columns.append(rest / (tf.norm(rest) + _EPSILON))
    return tf.stack(columns, axis=1)


def _products(
    left: list[tf.Tensor], right: list[tf.Tensor], tensors: list[tf.Tensor]
) -> list[tf.Tensor]:
    return [
        tf.reshape(tf.matmul(p, q, transpose_b=True), tensor.shape)
        for p, q, tensor in zip(left, right, tensors, strict=True)
    ]


def _sides(shape: tf.TensorShape) -> tuple[int, int]:
    """Returns rows and columns of a kernel as a matrix: output channels are columns."""
    columns = shape[-1]
    return shape.num_elements() // columns, columns
