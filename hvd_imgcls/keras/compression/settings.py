"""Options for `DistributedOptimizer(compression=...)` that keep a state between updates.

All of them send float32 tensors of two or more dimensions compressed, and others as they are. What
compression takes from a tensor, a rank adds to it at the next update (error feedback: Seide et al.
2014; Karimireddy et al. 2019, arXiv:1901.09847).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
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


BY_NAME = {one.name: one for one in (BFloat16, Int8, TopK, PowerSGD)}
"""Classes that compress, by name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Automatic(LossyCompression):
    """Measures the candidates in the first updates, and takes the fastest or none.

    The updates that measure apply gradients that are not compressed. Those of a step are reduced
    once more for it, if it is the turn of a candidate.

    Attributes:
        candidates: Names of compressions, of `BY_NAME`.
        min_gain: Fraction of a step that compression must save, in [0, 1).
        rounds: Times of each candidate, and of none, of which the median counts. Before them is
            one more, which does not count.
        warmup_steps: Updates before the measurement; nothing is compressed.
    """

    name: ClassVar[str] = "auto"

    candidates: tuple[str, ...] = ("bf16", "int8")
    min_gain: float = 0.1
    rounds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "candidates", tuple(self.candidates))
        names = self.candidates
        is_right = bool(names) and len(set(names)) == len(names) and set(names) <= set(BY_NAME)
        self._require("candidates", is_right, f"one or more of {', '.join(BY_NAME)}, each once")
        self._require("min_gain", 0.0 <= self.min_gain < 1.0, "0 or more and below 1")
        self._require("rounds", self.rounds >= 1, "1 or more")

    def describe(self) -> dict[str, Any]:
        """Returns the settings as JSON, for the comparison across ranks."""
        return {**super().describe(), "candidates": list(self.candidates)}

    def settings_of_candidates(self) -> list[LossyCompression]:
        """Returns the candidates with their default settings."""
        return [BY_NAME[name](exclude=self.exclude) for name in self.candidates]

    def choose(self, seconds: Sequence[float], step_seconds: float) -> int:
        """Returns the number of the way to take: 0 for none, 1 for the first candidate.

        Args:
            seconds: What the reduction adds to a step, for none and for every candidate.
            step_seconds: A whole step without compression; NaN if unknown.
        """
        return fastest(seconds, step_seconds, self.min_gain)


def fastest(seconds: Sequence[float], step_seconds: float, min_gain: float) -> int:
    """Returns the index of the smallest time, or 0 if that saves too little against the first.

    The first of equal ones. Times that are not finite are not taken.

    Args:
        seconds: Parts of a step, of which one remains.
        step_seconds: A whole step with the first.
        min_gain: Fraction of the step that must be saved.
    """
    usable = [second if math.isfinite(second) else math.inf for second in seconds]
    best = usable.index(min(usable))
    saved = usable[0] - usable[best]
    # False for NaN.
    return best if saved > 0.0 and saved >= min_gain * step_seconds else 0
