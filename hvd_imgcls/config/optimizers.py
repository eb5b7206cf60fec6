"""The optimizers that a pipeline selects by `name`.

To add one, add a section here, a member of the union, and an entry in the table that
builds optimizers.
"""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, HalfOpenFraction, NonNegativeFloat, PositiveFloat


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class _WithDecay:
    """An optimizer with weight decay."""

    name: str
    """Name of the optimizer."""

    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay, scaled by the learning rate. 0 for none."""

    weight_decay_on: Literal["kernels", "all"] = "kernels"
    """Which variables the weight decay applies to.

    `kernels`: variables with two or more dimensions and a name ending in `kernel`; this excludes
    biases, normalisation and position embeddings. `all`: every variable, as in Keras.
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Sgd(_WithDecay):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    """Name of the optimizer."""

    momentum: HalfOpenFraction = 0.9
    """Momentum. 0 for none."""

    nesterov: bool = False
    """Whether to use Nesterov momentum."""

    momentum_correction: bool = False
    """Whether the momentum is rescaled when the learning rate changes.

    Keras multiplies gradients by the learning rate before accumulating them. `true` gives
    PyTorch's update, `w -= learning_rate * sum`, which Goyal et al. 2017 (arXiv:1706.02677,
    section 3) call momentum correction. It matters during warmup and where the learning rate
    drops in steps.
    """

    normalization_bias_multiplier: PositiveFloat = 1.0
    """Learning-rate multiplier for the offsets (beta) of normalisation layers.

    Jordan 2024 (arXiv:2404.00498, section 3.4): 64 for `fast_cnn`. Biases of other layers, which
    nothing keeps bounded, keep the plain learning rate. `l2` weight decay is not multiplied.
    """

    weight_decay: NonNegativeFloat = 0.0
    """Weight decay of type `weight_decay_kind`. 0 for none."""

    weight_decay_kind: Literal["decoupled", "l2"] = "decoupled"
    """Type of weight decay.

    `decoupled`: every step multiplies the weights by `1 - learning_rate * weight_decay`
    (Loshchilov and Hutter 2019, arXiv:1711.05101). `l2`: adds `weight_decay * weight` to the
    gradient, and so to the momentum, as in PyTorch. Values in papers on ResNets, such as 1e-4,
    are for `l2`; with momentum 0.9 it decays ten times as fast as `decoupled` with the same
    value.
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Adam:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980)."""

    name: Literal["adam"]
    """Name of the optimizer."""

    beta_1: HalfOpenFraction = 0.9
    """Decay rate of the moving average of the gradients."""

    beta_2: HalfOpenFraction = 0.999
    """Decay rate of the moving average of the squared gradients."""

    epsilon: PositiveFloat = 1e-7
    """Added to the denominator to avoid division by zero. Keras's default."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class AdamW(_WithDecay):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

    name: Literal["adamw"]
    """Name of the optimizer."""

    beta_1: HalfOpenFraction = 0.9
    """Decay rate of the moving average of the gradients."""

    beta_2: HalfOpenFraction = 0.999
    """Decay rate of the moving average of the squared gradients."""

    epsilon: PositiveFloat = 1e-7
    """Added to the denominator to avoid division by zero. Keras's default."""

    weight_decay: NonNegativeFloat = 0.004
    """Decoupled weight decay, scaled by the learning rate.

    The default is Keras's. 0 for none.
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Lamb(_WithDecay):
    """LAMB: Adam with layer-wise adaptive step lengths (You et al. 2020, arXiv:1904.00962).

    For large batches. Keras's implementation, which differs from the paper in the weight decay:
    it is decoupled and does not enter the step length.
    """

    name: Literal["lamb"]
    """Name of the optimizer."""

    beta_1: HalfOpenFraction = 0.9
    """Decay rate of the moving average of the gradients."""

    beta_2: HalfOpenFraction = 0.999
    """Decay rate of the moving average of the squared gradients."""

    epsilon: PositiveFloat = 1e-6
    """Added to the denominator to avoid division by zero. The paper's value."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Lars(_WithDecay):
    """LARS: SGD with layer-wise adaptive step lengths (You et al. 2017, arXiv:1708.03888).

    For large batches. The learning rate of variables with two or more dimensions is multiplied by
    `trust_coefficient * |w| / (|g| + weight_decay * |w| + epsilon)`; biases and normalisation
    use the plain learning rate.
    """

    name: Literal["lars"]
    """Name of the optimizer."""

    momentum: HalfOpenFraction = 0.9
    """Momentum. 0 for none."""

    nesterov: bool = False
    """Whether to use Nesterov momentum."""

    weight_decay: NonNegativeFloat = 0.0
    """Added to the gradient as `weight_decay * weight`, as in the paper. 0 for none."""

    trust_coefficient: PositiveFloat = 0.001
    """Ratio of the step length to the norm of the weights, at learning rate 1.

    Called eta in the paper (section 4). The default is the common value.
    """

    epsilon: NonNegativeFloat = 0.0
    """Added to the denominator. Not in the paper; a denominator of 0 disables the adaptation."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Muon(_WithDecay):
    """Muon: momentum orthogonalised for each matrix (Jordan et al. 2024; arXiv:2502.16982).

    Keras's implementation: applies to matrices, the kernels of dense layers. Convolutions, the
    last layer, biases and normalisation are trained with AdamW at the same learning rate.
    """

    name: Literal["muon"]
    """Name of the optimizer."""

    momentum: HalfOpenFraction = 0.95
    """Momentum of matrices."""

    nesterov: bool = True
    """Whether to use Nesterov momentum."""

    beta_1: HalfOpenFraction = 0.9
    """Decay rate of the moving average of the gradients, for AdamW."""

    beta_2: HalfOpenFraction = 0.999
    """Decay rate of the moving average of the squared gradients, for AdamW."""

    epsilon: PositiveFloat = 1e-7
    """Added to the denominator to avoid division by zero. Keras's default."""

    weight_decay: NonNegativeFloat = 0.004
    """Decoupled weight decay, scaled by the learning rate.

    The default is Keras's. 0 for none.
    """


Optimizer = Annotated[Sgd | Adam | AdamW | Lamb | Lars | Muon, pydantic.Field(discriminator="name")]
