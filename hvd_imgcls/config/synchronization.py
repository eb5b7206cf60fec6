"""How the ranks are kept in step."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import (
    STRICT,
    HalfOpenFraction,
    LeftOpenFraction,
    NonEmptyStr,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Allreduce:
    """All ranks apply the mean of all gradients at every step."""

    name: Literal["allreduce"] = "allreduce"
    """Name of the mode."""

    groups: PositiveInt | Literal["auto"] | None = None
    """Number of messages, of about equal size, in which gradients are sent, the last layers first.

    All but the last travel while other gradients are still computed. `auto` measures 1, 2, 4, 8 and
    16 in the first 30 steps, and takes the one with the shortest steps. By default, of at most 32
    MiB.
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Delayed:
    """All ranks apply the mean gradient one step late: it travels while the next is computed.

    Li et al. 2018, Pipe-SGD (arXiv:1811.03619). The weights are equal on all ranks at any time. The
    first step after the warm-up applies nothing, and the last gradient is not applied.
    """

    name: Literal["delayed"]
    """Name of the mode."""

    warmup_steps: NonNegativeInt = 0
    """Steps at the beginning that apply their own gradients, as `allreduce` does."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class LocalSGD:
    """Ranks train on their own and average their weights from time to time.

    Stich 2018 (arXiv:1805.09767). The first step is that of `allreduce`. Weights are also averaged
    at the end of every epoch, and checkpoints are written when they have been averaged.
    """

    name: Literal["local_sgd"]
    """Name of the mode."""

    period: PositiveInt = 8
    """Steps between two averagings."""

    warmup_steps: NonNegativeInt = 0
    """Steps at the beginning that are those of `allreduce` (post-local SGD, arXiv:1808.07217)."""

    optimizer_state: Literal["keep", "average"] = "keep"
    """Whether momenta stay on their ranks, or are averaged with the weights."""

    outer_learning_rate: PositiveFloat = 1.0
    """Factor of the mean change of the weights over a period."""

    outer_momentum: HalfOpenFraction = 0.0
    """Momentum of the mean changes (SlowMo, arXiv:1910.00643). 0 for none."""

    nesterov: bool = False
    """Whether the outer momentum is Nesterov's (DiLoCo, arXiv:2311.08105)."""


Mode = Annotated[Allreduce | Delayed | LocalSGD, pydantic.Field(discriminator="name")]


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class NoCompression:
    """Gradients are sent as they are."""

    name: Literal["none"] = "none"
    """Name of the compression."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Fp16:
    """Gradients are rounded to float16: half the bytes."""

    name: Literal["fp16"]
    """Name of the compression."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Bf16:
    """Kernels are sent as bfloat16, with error feedback: half the bytes."""

    name: Literal["bf16"]
    """Name of the compression."""

    warmup_steps: NonNegativeInt = 0
    """Steps at the beginning in which nothing is compressed."""

    exclude: tuple[NonEmptyStr, ...] = ()
    """Patterns of names of variables, such as `*/predictions/*`, that are not compressed."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Int8:
    """Kernels are sent as 8-bit integers, with error feedback: about a quarter of the bytes."""

    name: Literal["int8"]
    """Name of the compression."""

    block_size: PositiveInt = 256
    """Values with a common scale, a multiple of 4."""

    warmup_steps: NonNegativeInt = 0
    """Steps at the beginning in which nothing is compressed."""

    exclude: tuple[NonEmptyStr, ...] = ()
    """Patterns of names of variables, such as `*/predictions/*`, that are not compressed."""

    def __post_init__(self) -> None:
        if self.block_size % 4:
            raise ValueError("block_size as a multiple of 4")


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class TopK:
    """Only the largest values of the gradients of kernels are sent, with error feedback.

    Stich et al. 2018 (arXiv:1809.07599). The bytes grow with the number of ranks.
    """

    name: Literal["top_k"]
    """Name of the compression."""

    fraction: LeftOpenFraction = 0.01
    """Fraction of the values that are sent."""

    warmup_steps: NonNegativeInt = 0
    """Steps at the beginning in which nothing is compressed."""

    exclude: tuple[NonEmptyStr, ...] = ()
    """Patterns of names of variables, such as `*/predictions/*`, that are not compressed."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class PowerSGD:
    """Kernels are sent as two factors of low rank, with error feedback.

    Vogels et al. 2019 (arXiv:1905.13727). All hosts must have the same kind of processor.
    """

    name: Literal["power_sgd"]
    """Name of the compression."""

    rank: PositiveInt = 2
    """Rank of the factors."""

    warmup_steps: NonNegativeInt = 0
    """Steps at the beginning in which nothing is compressed."""

    exclude: tuple[NonEmptyStr, ...] = ()
    """Patterns of names of variables, such as `*/predictions/*`, that are not compressed."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Auto:
    """The candidates are measured in the first steps, and the fastest is used, or none.

    The steps that measure apply gradients that are not compressed. The log says what was chosen and
    why. On other ranks or hosts, a run that is continued measures anew.
    """

    name: Literal["auto"]
    """Name of the compression."""

    candidates: tuple[Literal["bf16", "int8", "top_k", "power_sgd"], ...] = ("bf16", "int8")
    """Compressions with error feedback that are measured, with their default settings."""

    min_gain: HalfOpenFraction = 0.1
    """Fraction of a step that compression must save to be used."""

    rounds: PositiveInt = 5
    """How often each candidate, and none, is measured. Before that, each is used once."""

    warmup_steps: NonNegativeInt = 0
    """Steps before the measurement, in which nothing is compressed."""

    exclude: tuple[NonEmptyStr, ...] = ()
    """Patterns of names of variables, such as `*/predictions/*`, that are not compressed."""

    def __post_init__(self) -> None:
        if not self.candidates or len(set(self.candidates)) < len(self.candidates):
            raise ValueError("candidates as a list of one or more, each once")


Compression = Annotated[
    NoCompression | Fp16 | Bf16 | Int8 | TopK | PowerSGD | Auto,
    pydantic.Field(discriminator="name"),
]


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Synchronization:
    """How gradients and batch statistics are combined across ranks."""

    mode: Mode = Allreduce()
    """How the ranks are kept in step."""

    compression: Compression = NoCompression()
    """Compression of gradients, and of the changes of weights in `local_sgd`.

    What compression takes from a gradient is added to the next one (error feedback), except for
    `fp16`. Biases and other vectors are not compressed.
    """

    shard_optimizer_state: bool = False
    """Whether every rank keeps the optimizer's state for its part of the weights only.

    It updates that part and sends it to the others (ZeRO stage 1, arXiv:1910.02054): momenta and
    averages of the weights need `1 / ranks` of the memory, and as many bytes are sent. For
    optimizers that treat all values of a weight alike; not for `lamb`, `lars`, `muon`, adaptive
    clipping, lookahead and `mixed_float16`.
    """

    batch_normalization: Literal["local", "synchronized"] = "local"
    """Over which images batch normalisation computes its batch statistics.

    `local`: those of the rank; the moving statistics are averaged over the ranks before they
    are used. `synchronized`: those of all ranks (SyncBatchNorm), so that the result does not
    depend on the number of ranks; costs two small allreduces per layer and step.
    """

    def __post_init__(self) -> None:
        if self.mode.name == "local_sgd" and self.batch_normalization == "synchronized":
            raise ValueError("batch_normalization local with mode local_sgd")
        if self.mode.name == "local_sgd" and self.compression.name == "fp16":
            raise ValueError("compression bf16 instead of fp16 with mode local_sgd")
        if self.shard_optimizer_state and self.mode.name != "allreduce":
            raise ValueError("mode allreduce with shard_optimizer_state")
        if isinstance(self.mode, Allreduce) and self.mode.groups == "auto":
            if self.compression.name == "auto":
                raise ValueError("mode.groups as a number with compression auto")
            if self.shard_optimizer_state:
                raise ValueError("mode.groups as a number with shard_optimizer_state")
        if self.compression.name == "auto" and self.mode.name != "allreduce":
            raise ValueError(f"mode allreduce, not {self.mode.name}, with compression auto")
        if self.shard_optimizer_state and self.compression.name not in ("none", "fp16"):
            raise ValueError("compression none or fp16 with shard_optimizer_state")
