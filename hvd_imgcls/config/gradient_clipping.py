"""How gradients are clipped, after all ranks have added theirs up."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, PositiveFloat


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class NoClipping:
    """Gradients are applied as they are."""

    name: Literal["none"] = "none"
    """Which clipping this is."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ClipByValue:
    """Every number of a gradient is brought into a range."""

    name: Literal["value"]
    """Which clipping this is."""

    max_value: PositiveFloat
    """The range is from minus this to this."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ClipByNorm:
    """The gradient of every variable is shortened to a norm, if it is longer."""

    name: Literal["norm"]
    """Which clipping this is."""

    max_norm: PositiveFloat
    """L2 norm of the gradient of one variable, at most."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ClipByGlobalNorm:
    """All gradients are shortened together (Pascanu et al. 2013, arXiv:1211.5063, section 3.2)."""

    name: Literal["global_norm"]
    """Which clipping this is."""

    max_norm: PositiveFloat
    """L2 norm of the gradients of all variables as one vector, at most."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class AdaptiveClipping:
    """The gradient of every unit is shortened to a fraction of its weights: AGC.

    Brock et al. 2021 (arXiv:2102.06171, section 4.1). A unit is an output of a dense layer or of a
    convolution. The kernel of the last layer is left out, as in the paper, and so are variables of
    one dimension.
    """

    name: Literal["adaptive"]
    """Which clipping this is."""

    max_ratio: PositiveFloat = 0.01
    """Norm of a unit's gradient divided by that of its weights, at most: the paper's lambda.

    The paper finds smaller values better for larger batches.
    """

    epsilon: PositiveFloat = 1e-3
    """Norm that weights have at least, or weights of 0 would stay 0. The default is the paper's."""


GradientClipping = Annotated[
    NoClipping | ClipByValue | ClipByNorm | ClipByGlobalNorm | AdaptiveClipping,
    pydantic.Field(discriminator="name"),
]
