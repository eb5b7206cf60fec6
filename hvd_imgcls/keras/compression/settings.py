"""Options for `DistributedOptimizer(compression=...)` that keep a state between updates.

All of them send float32 tensors of two or more dimensions compressed, and others as they are. What
compression takes from a tensor, a rank adds to it at the next update (error feedback: Seide et al.
2014; Karimireddy et al. 2019, arXiv:1901.09847).
"""

from __future__ import annotations

import dataclasses
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from hvd_imgcls.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossyCompression:
    """What all of them have in common.

    Attributes:
        warmup_steps: Updates before which nothing is compressed.
        exclude: Patterns of variable paths, such as `"*/predictions/*"`, that are not compressed.
    """

    name: ClassVar[str]

    warmup_steps: int = 0
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "exclude", tuple(self.exclude))
        self._require("warmup_steps", self.warmup_steps >= 0, "0 or more")

    def excludes(self, path: str) -> bool:
        """Returns whether the variable with this path is not compressed."""
        return any(fnmatchcase(path, pattern) for pattern in self.exclude)

    def describe(self) -> dict[str, Any]:
        """Returns the settings as JSON, for the comparison across ranks."""
        return {"name": self.name, **dataclasses.asdict(self), "exclude": list(self.exclude)}

    def _require(self, argument: str, is_right: bool, expected: str) -> None:
        if not is_right:
            raise ConfigError(
                f"compression.{argument}",
                got=getattr(self, argument),
                expected=expected,
                fix="change it",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BFloat16(LossyCompression):
    """Sends bfloat16: half the bytes, the range of float32, 8 bits of precision.

    Sums are computed in float32.
    """

    name: ClassVar[str] = "bf16"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Int8(LossyCompression):
    """Sends 8-bit integers with one float32 scale per block: about a quarter of the bytes.

    Sums are computed in float32.

    Attributes:
        block_size: Values per scale, a multiple of 4.
    """

    name: ClassVar[str] = "int8"

    block_size: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        is_right = self.block_size >= 4 and self.block_size % 4 == 0
        self._require("block_size", is_right, "a positive multiple of 4")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TopK(LossyCompression):
    """Sends the values of largest magnitude and their positions (Stich et al., arXiv:1809.07599).

    The bytes grow with the number of ranks: each receives those of all others.

    Attributes:
        fraction: Of the values that are sent, in (0, 1].
    """

    name: ClassVar[str] = "top_k"

    fraction: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("fraction", 0.0 < self.fraction <= 1.0, "above 0 and at most 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PowerSGD(LossyCompression):
    """Sends two factors of low rank for every matrix (Vogels et al. 2019, arXiv:1905.13727).

    A kernel is a matrix with its output channels as columns. Kernels for which the factors would
    not be smaller are sent as they are. All hosts must have the same kind of processor: each
    multiplies the factors itself.

    Attributes:
        rank: Columns of the factors.
        seed: Of the first factors.
    """

    name: ClassVar[str] = "power_sgd"

    rank: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("rank", self.rank >= 1, "1 or more")
