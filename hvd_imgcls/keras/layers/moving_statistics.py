"""The moving statistics of batch normalisation, over all ranks.

Without synchronised batch normalisation, every rank updates its own statistics, and a model
that is evaluated or saved has those of a single rank, a part of the data. These functions
compute them over all ranks.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from hvd_imgcls import distributed
from hvd_imgcls.keras.communication.signatures import require_same_signatures


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
    variables = statistics_of(layers_of(model))
    ranks = distributed.current()
    if ranks.topology.size > 1:
        require_same_signatures(variables, {"of": "moving statistics"})
    if not variables:
        return
    own = np.append(weight * flat_values(variables), weight)
    total = ranks.sum_arrays("moving_statistics", own)
    assign_flat(variables, total[:-1] / total[-1])


def unmoved_fraction(model: keras.Model, num_batches: int) -> float:
    """Returns the fraction of the moving statistics that are still initial values.

    After `num_batches` batches, for the layer with the highest momentum, in 0 to 1: momentum to
    the power of the number of batches. 0 without trainable batch normalisation.

    Args:
        model: A built model.
        num_batches: At least 0.
    """
    return max((layer.momentum**num_batches for layer in layers_of(model)), default=0.0)


def layers_of(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Returns the layers that update statistics in training, each once."""
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.built and layer.trainable
    ]


def statistics_of(layers: list[keras.layers.BatchNormalization]) -> list[keras.Variable]:
    """Returns the moving mean and variance of each layer, in turn."""
    return [variable for layer in layers for variable in (layer.moving_mean, layer.moving_variance)]


def flat_values(variables: list[keras.Variable]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Returns the values of all variables as one vector."""
    values = [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in variables]
    return np.concatenate([value.astype(np.float64).ravel() for value in values])


def assign_flat(
    variables: list[keras.Variable], flat: np.ndarray[Any, np.dtype[np.float64]]
) -> None:
    """Assigns a result of `flat_values`, or one of its length, to the variables."""
    sizes = [int(np.prod(variable.shape)) for variable in variables]
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    for variable, part in zip(variables, parts, strict=True):
        variable.assign(part.reshape(variable.shape).astype(variable.dtype))
