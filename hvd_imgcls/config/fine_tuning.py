"""The `fine_tuning` section: frozen layers and layer-wise learning rates."""

from __future__ import annotations

from typing import Annotated

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, LeftOpenFraction, NonEmptyStr, PositiveInt


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Freeze:
    """Layers that are frozen for the first epochs, or for the whole run.

    Frozen batch normalisation runs in inference mode: it uses its moving statistics unchanged.
    """

    layers: Annotated[tuple[NonEmptyStr, ...], pydantic.Field(min_length=1)]
    """Layer names; `*` matches any text. `trunk`: all layers before the last one with a kernel."""

    epochs: PositiveInt | None = None
    """Number of epochs after which the layers are unfrozen. null: never."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class FineTuning:
    """How a pretrained network is fine-tuned."""

    freeze: tuple[Freeze, ...] = ()
    """Layers that are frozen at first."""

    layer_decay: LeftOpenFraction = 1.0
    """Layer-wise decay: ratio of the learning rates of a layer group and the next one; 1 for none.

    Clark et al. 2020 (arXiv:2003.10555), for images Bao et al. 2022 (arXiv:2106.08254). The last
    layer has the full learning rate. A layer group lies between two tensors that every path through
    the network passes, and has a kernel: a residual block, half a transformer block, or a layer of
    a plain network.
    """
