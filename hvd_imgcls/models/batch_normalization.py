"""Batch normalisation, configured the same in every network of this package."""

from __future__ import annotations

from typing import Any

import keras


def batch_normalization(
    name: str,
    *,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    gamma_initializer: str = "ones",
) -> Any:
    """Returns a layer that normalises every channel to mean 0 and variance 1 over the batch.

    After Ioffe and Szegedy 2015 (arXiv:1502.03167).

    Args:
        name: Name of the layer.
        momentum: Momentum of the moving statistics. The default is
            that of Goyal et al. 2017 (arXiv:1706.02677, section 5.1).
        epsilon: Added to the variance; 1e-5 as in the reference code of He et al. 2015.
        gamma_initializer: Initializer of the scale; "zeros" makes a residual branch start at 0.
    """
    return keras.layers.BatchNormalization(
        momentum=momentum, epsilon=epsilon, gamma_initializer=gamma_initializer, name=name
    )
