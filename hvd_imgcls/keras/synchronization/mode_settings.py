"""Arguments of `DistributedOptimizer(mode=...)`: how the ranks are kept in step."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

from hvd_imgcls.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModeSettings:
    """What all modes have in common."""

    name: ClassVar[str]

    def describe(self) -> dict[str, Any]:
        """Returns the settings as JSON, for the comparison across ranks."""
        return {"name": self.name, **dataclasses.asdict(self)}

    def _require(self, argument: str, is_right: bool, expected: str) -> None:
        if not is_right:
            raise ConfigError(
                f"mode.{argument}",
                got=getattr(self, argument),
                expected=expected,
                fix="change it",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Allreduce(ModeSettings):
    """All ranks apply the mean of all gradients at every update."""

    name: ClassVar[str] = "allreduce"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Delayed(ModeSettings):
    """All ranks apply the mean gradient one update late, and reduce it while the next is computed.

    The weights are equal on all ranks at any time. The first update without warm-up applies
    nothing, and the last gradient of a training is not applied. See Li et al. 2018, Pipe-SGD
    (arXiv:1811.03619).

    Attributes:
        warmup_steps: Updates that apply their own gradient, as `Allreduce` does.
    """

    name: ClassVar[str] = "delayed"

    warmup_steps: int = 0

    def __post_init__(self) -> None:
        self._require("warmup_steps", self.warmup_steps >= 0, "0 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalSGD(ModeSettings):
    """Ranks update their weights on their own, and average them from time to time.

    Stich 2018 (arXiv:1805.09767); with `warmup_steps`, post-local SGD of Lin et al. 2018
    (arXiv:1808.07217). With `outer_momentum`, the mean change of a period is a step of an outer
    optimizer: SlowMo of Wang et al. 2019 (arXiv:1910.00643) for a constant learning rate; with
    `nesterov` DiLoCo of Douillard et al. 2023 (arXiv:2311.08105). The first update is always
    that of `Allreduce`, and the weights are also averaged at the end of every epoch.

    Attributes:
        period: Updates between two averagings.
        warmup_steps: Updates that apply the mean gradient of all ranks, as `Allreduce` does.
        optimizer_state: "keep" leaves momenta on the ranks, "average" averages them, too.
        outer_learning_rate: Factor of the mean change.
        outer_momentum: Momentum of the mean changes; 0 for none.
        nesterov: Whether the outer momentum is Nesterov's.
    """

    name: ClassVar[str] = "local_sgd"

    period: int = 8
    warmup_steps: int = 0
    optimizer_state: Literal["keep", "average"] = "keep"
    outer_learning_rate: float = 1.0
    outer_momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        self._require("period", self.period >= 1, "1 or more")
        self._require("warmup_steps", self.warmup_steps >= 0, "0 or more")
        states = ("keep", "average")
        self._require("optimizer_state", self.optimizer_state in states, " or ".join(states))
        self._require("outer_learning_rate", self.outer_learning_rate > 0, "above 0")
        self._require("outer_momentum", 0 <= self.outer_momentum < 1, "0 or more and below 1")
