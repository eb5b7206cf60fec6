"""Settings given by the arguments of the distributed optimizer and tape."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ProcessSet, ReduceOp, global_process_set
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.communication.adasum import require_power_of_two
from hvd_imgcls.keras.communication.compression import Compression
from hvd_imgcls.keras.compression.settings import Automatic, LossyCompression
from hvd_imgcls.keras.graph.variables import variable_path
from hvd_imgcls.keras.synchronization.mode_settings import Allreduce


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReductionSettings:
    """Arguments of `DistributedOptimizer` about the reduction.

    Attributes:
        compression: Compression of gradients: a `Compressor` or a `LossyCompression`.
        sparse_as_dense: Whether `tf.IndexedSlices` are converted to dense tensors first.
        gradient_predivide_factor: Divisor before the sum, and factor after it.
        op: Average, Sum or Adasum.
        groups: Number of groups, lists of variables that are sent together, or "auto".
        process_set: The participating ranks.
        scale_local_gradients: Whether gradients of local variables are divided by the size.
        mode: How the ranks are kept in step.
        shard_optimizer_state: Whether every rank has the optimizer's state for its part only.
    """

    compression: Any = Compression.none
    sparse_as_dense: bool = False
    gradient_predivide_factor: float = 1.0
    op: ReduceOp = ReduceOp.AVERAGE
    groups: int | Sequence[Sequence[Any]] | str | None = None
    process_set: ProcessSet = global_process_set
    scale_local_gradients: bool = True
    mode: Any = dataclasses.field(default_factory=Allreduce)
    shard_optimizer_state: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.compression, type) and issubclass(self.compression, LossyCompression):
            object.__setattr__(self, "compression", self.compression())
        if self.is_lossy and (self.op == ReduceOp.ADASUM or self.gradient_predivide_factor != 1.0):
            raise ConfigError(
                "compression",
                got=self.compression,
                expected="none or fp16 with op=Adasum or gradient_predivide_factor",
                fix="use op=Average or op=Sum without gradient_predivide_factor",
            )
        if self.op not in (ReduceOp.AVERAGE, ReduceOp.SUM, ReduceOp.ADASUM):
            raise ConfigError(
                "op",
                got=ReduceOp(self.op).name,
                expected="Average, Sum or Adasum for gradients",
                fix="use op=Average",
            )
        if self.gradient_predivide_factor != 1.0 and self.op != ReduceOp.AVERAGE:
            raise ConfigError(
                "gradient_predivide_factor",
                got=self.gradient_predivide_factor,
                expected="1.0 unless op=Average",
                fix="omit it or use op=Average",
            )
        self._require_average_of_all("delayed", "local_sgd")
        if (
            self.mode.name == "local_sgd"
            and not self.is_lossy
            and (self.compression is not Compression.none)
        ):
            raise ConfigError(
                "compression",
                got=getattr(self.compression, "__name__", self.compression),
                expected="none or one with error feedback, for mode local_sgd",
                fix="use Compression.bf16()",
            )
        if self.op == ReduceOp.ADASUM:
            require_power_of_two(self.process_set)
        self._require_divisible()
        self._require_measurable()
        self._require_possible_groups()

    def _require_average_of_all(self, *modes: str) -> None:
        if self.mode.name in modes and self.op != ReduceOp.AVERAGE:
            raise ConfigError(
                "op",
                got=self.op.name,
                expected=f"Average with mode {self.mode.name}",
                fix="omit it, or use mode=hvd.Allreduce()",
            )

    def _require_divisible(self) -> None:
        """Raises a ConfigError for a reduction whose result cannot be one part for each rank."""
        if not self.shard_optimizer_state:
            return
        excluded = {
            f"mode {self.mode.name}": self.mode.name != "allreduce",
            "op Adasum": self.op == ReduceOp.ADASUM,
            "a compression with error feedback": self.is_lossy,
            "gradient_predivide_factor": self.gradient_predivide_factor != 1.0,
        }
        for what, is_so in excluded.items():
            if is_so:
                raise ConfigError(
                    "shard_optimizer_state",
                    got=f"True, with {what}",
                    expected="mode allreduce, op Average or Sum, and compression none or fp16",
                    fix="change one of them",
                )

    def _require_measurable(self) -> None:
        """Raises a ConfigError for a mode in which ways to reduce gradients are not measured."""
        if self.is_automatic and self.mode.name != "allreduce":
            raise ConfigError(
                "compression",
                got=f"auto, with mode {self.mode.name}",
                expected="mode allreduce: others do not wait for the gradients of a step",
                fix="name a compression, or use mode=hvd.Allreduce()",
            )

    def _require_possible_groups(self) -> None:
        groups = self.groups
        is_negative = isinstance(groups, int) and groups < 0
        if is_negative or (isinstance(groups, str) and groups != "auto"):
            raise ConfigError(
                "groups",
                got=self.groups,
                expected='a non-negative number, a list of lists of variables or "auto"',
                fix="omit it",
            )
        excluded = {
            f"mode {self.mode.name}": self.mode.name != "allreduce",
            "op Adasum": self.op == ReduceOp.ADASUM,
            "shard_optimizer_state": self.shard_optimizer_state,
            "compression auto, which measures, too": self.is_automatic,
        }
        for what, is_so in excluded.items():
            if is_so and self.has_automatic_groups:
                raise ConfigError(
                    "groups",
                    got=f"auto, with {what}",
                    expected="a number of groups, or nothing",
                    fix="change one of them",
                )

    def describe(self) -> dict[str, Any]:
        """Returns the settings as JSON, for the comparison across ranks."""
        groups = self.groups
        if groups is not None and not isinstance(groups, int | str):
            groups = [[variable_path(v).rsplit("/", 1)[-1] for v in group] for group in groups]
        return {
            "compression": self.compression.describe()
            if self.is_lossy
            else self.compression.__name__,
            "sparse_as_dense": self.sparse_as_dense,
            "gradient_predivide_factor": self.gradient_predivide_factor,
            "op": self.op.name,
            "mode": self.mode.describe(),
            "groups": groups,
            "process_set": None
            if self.process_set.is_of_all_ranks
            else list(self.process_set.ranks or []),
            "scale_local_gradients": self.scale_local_gradients,
            "shard_optimizer_state": self.shard_optimizer_state,
        }

    @property
    def is_lossy(self) -> bool:
        """Whether the compression keeps a state, with what it has taken from gradients."""
        return isinstance(self.compression, LossyCompression)

    @property
    def is_automatic(self) -> bool:
        """Whether the compression is chosen by measurement."""
        return isinstance(self.compression, Automatic)

    @property
    def has_automatic_groups(self) -> bool:
        """Whether the number of groups is chosen by measurement."""
        return isinstance(self.groups, str)

    @property
    def fixed_groups(self) -> int | Sequence[Sequence[Any]] | None:
        """The groups, None if they are chosen by measurement."""
        return None if isinstance(self.groups, str) else self.groups

    @property
    def size(self) -> int:
        """Number of participating ranks; 1 for a rank outside the process set."""
        distributed.current()  # raises if init() was not called, instead of training separately
        if not self.process_set.included():
            return 1
        return self.process_set.size() or 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class SynchronizerSettings:
    """Settings of a `Synchronizer`.

    Attributes:
        reduction: How gradients are reduced.
        backward_passes_per_step: Gradients accumulated before each update.
        average_aggregated_gradients: Whether to apply their mean instead of their sum.
        check_every_steps: Updates between two comparisons of weights and optimizer state;
            0 compares only before the first two.
        skip_non_finite: Whether to skip updates that are NaN or infinite.
    """

    reduction: ReductionSettings
    backward_passes_per_step: int = 1
    average_aggregated_gradients: bool = False
    check_every_steps: int = 0
    skip_non_finite: bool = False

    def describe(self) -> dict[str, Any]:
        """Returns the settings as JSON, for the comparison across ranks."""
        return {
            "backward_passes_per_step": self.backward_passes_per_step,
            "average_aggregated_gradients": self.average_aggregated_gradients,
            "check_every_steps": self.check_every_steps,
            "skip_non_finite": self.skip_non_finite,
            **self.reduction.describe(),
        }
