"""How gradients are clipped after the reduction over all ranks."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, PositiveFloat


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class NoClipping:
    """Gradients are not clipped."""

    name: Literal["none"] = "none"
    """Name of the clipping."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ClipByValue:
    """Every element of a gradient is clipped to a range."""

    name: Literal["value"]
    """Name of the clipping."""

    max_value: PositiveFloat
    """The range is from minus this to this."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ClipByNorm:
    """The gradient of every variable is scaled down to a maximum norm."""

    name: Literal["norm"]
    """Name of the clipping."""

    max_norm: PositiveFloat
    """Maximum L2 norm of the gradient of one variable."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ClipByGlobalNorm:
    """All gradients are scaled together (Pascanu et al. 2013, arXiv:1211.5063, section 3.2)."""

    name: Literal["global_norm"]
    """Name of the clipping."""

    max_norm: PositiveFloat
    """Maximum L2 norm of all gradients taken as one vector."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class AdaptiveClipping:
    """Adaptive gradient clipping (AGC): limits the gradient norm of a unit relative to its weights.

    Brock et al. 2021 (arXiv:2102.06171, section 4.1). A unit is an output of a dense or
    convolutional layer. The kernel of the last layer is excluded, as in the paper, and so are
    one-dimensional variables.
    """

    name: Literal["adaptive"]
    """Name of the clipping."""

    max_ratio: PositiveFloat = 0.01
    """Maximum ratio of a unit's gradient norm to its weight norm: lambda in the paper.

    According to the paper, larger batches need smaller values.
    """

    epsilon: PositiveFloat = 1e-3
    """Lower bound of the weight norm, so that zero weights can change. The paper's default."""


GradientClipping = Annotated[
    NoClipping | ClipByValue | ClipByNorm | ClipByGlobalNorm | AdaptiveClipping,
    pydantic.Field(discriminator="name"),
]
