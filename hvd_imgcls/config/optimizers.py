"""The optimizers that a pipeline chooses by `name`.

A new kind is a new section here, a member of the union, and an entry in the table that
builds it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, HalfOpenFraction, NonNegativeFloat, PositiveFloat


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Sgd:
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    """Which optimizer this is."""

    momentum: HalfOpenFraction = 0.9
    """Part of the last update that is added to the next. 0 for none."""

    nesterov: bool = False
    """Whether the momentum is Nesterov's."""

    momentum_correction: bool = False
    """Whether a change of the learning rate also rescales the momentum.

    Keras multiplies gradients by the learning rate before it adds them up. `true` makes the
    update that of PyTorch, `w -= learning_rate * sum`, which Goyal et al. 2017
    (arXiv:1706.02677, section 3) call momentum correction. It matters during warmup and where
    the learning rate falls in steps.
    """

    normalization_bias_multiplier: PositiveFloat = 1.0
    """What the learning rate is multiplied by for the offsets (beta) of normalisation.

    Jordan 2024 (arXiv:2404.00498, section 3.4): 64 for `fast_cnn`. Biases of other layers, which
    nothing keeps in bounds, have the plain learning rate. Decay of the kind `l2` is not
    multiplied.
    """

    weight_decay: NonNegativeFloat = 0.0
    """Weight decay of the kind `weight_decay_kind`. 0 for none."""

    weight_decay_kind: Literal["decoupled", "l2"] = "decoupled"
    """How weights decay.

    `decoupled`: weights shrink by `learning_rate * weight_decay` of themselves at every step
    (Loshchilov and Hutter 2019, arXiv:1711.05101). `l2`: `weight_decay * weight` is added to the
    gradient, so it goes through the momentum, as in PyTorch. Values of papers on ResNets, such
    as 1e-4, are for `l2`; with momentum 0.9 it decays ten times as fast as `decoupled` with the
    same value.
    """

    weight_decay_on: Literal["kernels", "all"] = "kernels"
    """What the weight decay is applied to.

    `kernels`: variables of two or more dimensions whose own name ends in `kernel`; so neither
    biases nor normalisation nor position embeddings. `all`: every variable, Keras's default.
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Adam:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980)."""

    name: Literal["adam"]
    """Which optimizer this is."""

    beta_1: HalfOpenFraction = 0.9
    """Decay of the running mean of the gradients."""

    beta_2: HalfOpenFraction = 0.999
    """Decay of the running mean of the squared gradients."""

    epsilon: PositiveFloat = 1e-7
    """Added to the root of the squares so that nothing is divided by 0. Keras's default."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

    name: Literal["adamw"]
    """Which optimizer this is."""

    beta_1: HalfOpenFraction = 0.9
    """Decay of the running mean of the gradients."""

    beta_2: HalfOpenFraction = 0.999
    """Decay of the running mean of the squared gradients."""

    epsilon: PositiveFloat = 1e-7
    """Added to the root of the squares so that nothing is divided by 0. Keras's default."""

    weight_decay: NonNegativeFloat = 0.004
    """Decoupled weight decay, multiplied by the learning rate.

    The default is Keras's. 0 for none.
    """

    weight_decay_on: Literal["kernels", "all"] = "kernels"
    """What the weight decay is applied to.

    `kernels`: variables of two or more dimensions whose own name ends in `kernel`; so neither
    biases nor normalisation nor position embeddings. `all`: every variable, Keras's default.
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Lamb:
    """LAMB: Adam with a step length per layer (You et al. 2020, arXiv:1904.00962).

    For large batches. Keras's own. It differs from the paper in the weight decay, which is
    decoupled and no part of what the step length is computed from.
    """

    name: Literal["lamb"]
    """Which optimizer this is."""

    beta_1: HalfOpenFraction = 0.9
    """Decay of the running mean of the gradients."""

    beta_2: HalfOpenFraction = 0.999
    """Decay of the running mean of the squared gradients."""

    epsilon: PositiveFloat = 1e-6
    """Added to the root of the squares so that nothing is divided by 0. The paper's."""

    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay, multiplied by the learning rate. 0 for none."""

    weight_decay_on: Literal["kernels", "all"] = "kernels"
    """What the weight decay is applied to.

    `kernels`: variables of two or more dimensions whose own name ends in `kernel`; so neither
    biases nor normalisation nor position embeddings. `all`: every variable, Keras's default.
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Lars:
    """LARS: SGD with a step length per layer (You et al. 2017, arXiv:1708.03888).

    For large batches. A variable of two or more dimensions gets the learning rate times
    `trust_coefficient * |w| / (|g| + weight_decay * |w| + epsilon)`; biases and normalisation get
    the learning rate as it is.
    """

    name: Literal["lars"]
    """Which optimizer this is."""

    momentum: HalfOpenFraction = 0.9
    """Part of the last update that is added to the next. 0 for none."""

    nesterov: bool = False
    """Whether the momentum is Nesterov's."""

    weight_decay: NonNegativeFloat = 0.0
    """Added to the gradient as `weight_decay * weight`, as in the paper. 0 for none."""

    weight_decay_on: Literal["kernels", "all"] = "kernels"
    """What the weight decay is applied to.

    `kernels`: variables of two or more dimensions whose own name ends in `kernel`; so neither
    biases nor normalisation nor position embeddings. `all`: every variable, Keras's default.
    """

    trust_coefficient: PositiveFloat = 0.001
    """Length of a step as a fraction of the length of the weights, at learning rate 1.

    The default is what is usual; the paper calls it eta (section 4).
    """

    epsilon: NonNegativeFloat = 0.0
    """Added to the divisor. Not in the paper; a divisor of 0 switches the adaptation off."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Muon:
    """Muon: momentum whose matrix is made orthogonal (Jordan et al. 2024; arXiv:2502.16982).

    Keras's own: it does so for matrices, that is the kernels of dense layers. Convolutions, the
    last layer, biases and normalisation are trained with AdamW, at the same learning rate.
    """

    name: Literal["muon"]
    """Which optimizer this is."""

    momentum: HalfOpenFraction = 0.95
    """Part of the last update of a matrix that is added to the next."""

    nesterov: bool = True
    """Whether the momentum is Nesterov's."""

    beta_1: HalfOpenFraction = 0.9
    """Decay of the running mean of the gradients, for AdamW."""

    beta_2: HalfOpenFraction = 0.999
    """Decay of the running mean of the squared gradients, for AdamW."""

    epsilon: PositiveFloat = 1e-7
    """Added to the root of the squares so that nothing is divided by 0. Keras's default."""

    weight_decay: NonNegativeFloat = 0.004
    """Decoupled weight decay, multiplied by the learning rate.

    The default is Keras's. 0 for none.
    """

    weight_decay_on: Literal["kernels", "all"] = "kernels"
    """What the weight decay is applied to.

    `kernels`: variables of two or more dimensions whose own name ends in `kernel`; so neither
    biases nor normalisation nor position embeddings. `all`: every variable, Keras's default.
    """


Optimizer = Annotated[Sgd | Adam | AdamW | Lamb | Lars | Muon, pydantic.Field(discriminator="name")]
