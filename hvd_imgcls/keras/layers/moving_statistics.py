"""The moving statistics of batch normalisation, over all ranks.

Without synchronised batch normalisation, every rank updates its own statistics, and a model
that is evaluated or saved has those of a single rank, a part of the data. These functions
compute them over all ranks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.keras.communication.signatures import require_same_signatures
from hvd_imgcls.keras.layers.present_examples import counting


def average_moving_statistics(model: keras.Model, *, weight: float = 1.0) -> None:
    """Averages the moving means and variances over all ranks, weighted.

    Training is not affected, because it normalises each batch with its own statistics.

    Collective: every rank must call this.

    Args:
        model: A built model, the same on all ranks.
        weight: Weight of this rank, such as the number of examples it has seen; non-negative,
            and above 0 on at least one rank.

    Raises:
        RankMismatchError: On all ranks, if they have different statistics.
    """
    variables = _statistics_of(_layers_of(model))
    ranks = distributed.current()
    if ranks.topology.size > 1:
        require_same_signatures(variables, {"of": "moving statistics"})
    if not variables:
        return
    own = np.append(weight * _flat(variables), weight)
    total = ranks.sum_arrays("moving_statistics", own)
    _assign(variables, total[:-1] / total[-1])


def recalibrate(model: keras.Model, batches: Iterable[Any], *, num_batches: int) -> None:
    """Replaces the moving statistics with the mean over some batches of all ranks.

    Examples of weight 0 do not count; batches are weighted by the number of the others.

    The weights do not change. Useful if the moving statistics lag behind the
    weights: after short training at a high learning rate, or for averaged weights
    (Wu and Johnson 2021, arXiv:2105.07576, section 3).

    Collective: every rank must call this with the same number of batches.

    Args:
        model: A built model, with the same weights on all ranks.
        batches: Yields (images, targets) or (images, targets, weights) of this rank, as in
            training; read `num_batches` times.
        num_batches: At least 1.
    """
    layers = _layers_of(model)
    if not layers:
        return
    variables = _statistics_of(layers)
    momenta = [layer.momentum for layer in layers]
    sums = np.zeros(sum(int(np.prod(variable.shape)) for variable in variables), np.float64)
    total = 0.0
    try:
        for layer in layers:
            layer.momentum = 0.0  # the moving statistics become those of the last batch

        @tf.function
        def forward(images: tf.Tensor, weights: tf.Tensor) -> None:
            with counting(weights):
                model(images, training=True)

        batch = iter(batches)
        for _ in range(num_batches):
            images, *others = next(batch)
            present = others[1] if len(others) > 1 else tf.ones(tf.shape(images)[:1])
            forward(images, present)
            number = float(tf.math.count_nonzero(present))
            sums += number * _flat(variables)
            total += number
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    if total:
        _assign(variables, sums / total)
    average_moving_statistics(model, weight=total)


def unmoved_fraction(model: keras.Model, num_batches: int) -> float:
    """Returns the fraction of the moving statistics that are still initial values.

    After `num_batches` batches, for the layer with the highest momentum, in 0 to 1: momentum to
    the power of the number of batches. 0 without trainable batch normalisation.

    Args:
        model: A built model.
        num_batches: At least 0.
    """
    return max((layer.momentum**num_batches for layer in _layers_of(model)), default=0.0)


def _layers_of(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Returns the layers that update statistics in training, each once."""
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.built and layer.trainable
    ]


def _statistics_of(layers: list[keras.layers.BatchNormalization]) -> list[keras.Variable]:
    return [variable for layer in layers for variable in (layer.moving_mean, layer.moving_variance)]


def _flat(variables: list[keras.Variable]) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in variables]
    return np.concatenate([value.astype(np.float64).ravel() for value in values])


def _assign(variables: list[keras.Variable], flat: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    sizes = [int(np.prod(variable.shape)) for variable in variables]
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    for variable, part in zip(variables, parts, strict=True):
        variable.assign(part.reshape(variable.shape).astype(variable.dtype))
