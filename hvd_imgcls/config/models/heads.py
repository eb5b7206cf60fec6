"""How the last layer is computed: `model.head`."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, LeftOpenFraction, PositiveInt


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class DenseHead:
    """Every rank has the whole layer."""

    name: Literal["dense"] = "dense"
    """Name of the head."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ClassShardedHead:
    """Every rank has the weights, and the optimizer's state, of a part of the classes.

    For very many classes (model parallelism as in An et al. 2020, arXiv:2010.05222). Features are
    gathered, and the softmax is computed in parts with exact normalisation: losses and gradients
    are those of `dense`. For the loss `cross_entropy`. Saved models have the whole layer, and
    every rank needs memory for it in an evaluation.
    """

    name: Literal["class_sharded"]
    """Name of the head."""

    parts: PositiveInt | None = None
    """Number of parts; null for one per rank.

    The number of ranks must be a multiple of it. With fewer parts than ranks, there are several
    copies of the layer, whose gradients are summed.
    """

    sampled_fraction: LeftOpenFraction = 1.0
    """Fraction of the classes of every part that takes part in a training step.

    1 for all. Below 1, the softmax is over all classes of the global batch and others that every
    step draws at random (Partial FC, An et al. 2022, arXiv:2203.15565): less memory and time for
    logits, and another loss. Evaluation, prediction and export have all classes.
    """


Head = Annotated[DenseHead | ClassShardedHead, pydantic.Field(discriminator="name")]


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class WithHead:
    """A model with a choice of heads."""

    name: str
    """Name of the model."""

    head: Head = DenseHead()
    """How the last layer is computed."""
