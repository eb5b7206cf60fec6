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

    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay of all variables, multiplied by the learning rate. 0 for none."""


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
    """Decoupled weight decay of all variables, multiplied by the learning rate.

    The default is Keras's. 0 for none.
    """


Optimizer = Annotated[Sgd | Adam | AdamW, pydantic.Field(discriminator="name")]
