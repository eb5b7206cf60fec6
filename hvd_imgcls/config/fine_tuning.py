"""What is different when a trained network is trained further."""

from __future__ import annotations

from typing import Annotated

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, LeftOpenFraction, NonEmptyStr, PositiveInt


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Freeze:
    """Layers that are not trained, for some time or at all.

    Batch normalisation that is frozen normalises by its moving statistics and leaves them.
    """

    layers: Annotated[tuple[NonEmptyStr, ...], pydantic.Field(min_length=1)]
    """Names of layers, with `*` for any text; `trunk` is every layer but the last with a kernel."""

    epochs: PositiveInt | None = None
    """Epochs, from the first one, after which they are trained too. null: never."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class FineTuning:
    """What is different when a trained network is trained further."""

    freeze: tuple[Freeze, ...] = ()
    """Layers that are not trained at first."""

    layer_decay: LeftOpenFraction = 1.0
    """Learning rate of a block as a fraction of that of the next one; the last layer has it whole.

    Clark et al. 2020 (arXiv:2003.10555), for images Bao et al. 2022 (arXiv:2106.08254). A block is
    what lies between two places that every path through the network passes and that has a kernel:
    a residual block, half a transformer block, or a layer of a plain network. 1 for none.
    """
