"""How local gradients become reduced ones: one object with one method."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ProcessSet, ReduceOp, global_process_set
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.checks import consistency
from hvd_imgcls.keras.communication import adasum, operations
from hvd_imgcls.keras.communication.compression import Compression
from hvd_imgcls.keras.graph.host_callback import run_if
from hvd_imgcls.keras.graph.variables import native_variable, variable_path
from hvd_imgcls.keras.synchronization.clocks import ReductionClock
from hvd_imgcls.keras.synchronization.grouping import buckets, by_dtype


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReductionSettings:
    """What the arguments of `DistributedOptimizer` say about the reduction.

    Attributes:
        compression: What travels; a `Compressor`.
        sparse_as_dense: Whether `tf.IndexedSlices` are made dense first.
        gradient_predivide_factor: Divides before the sum, and multiplies after it.
        op: Average, Sum or Adasum.
        groups: Number of groups, or lists of variables that travel together.
        process_set: The ranks that take part.
        scale_local_gradients: Whether gradients that stay local are divided by the size.
    """

    compression: Any = Compression.none
    sparse_as_dense: bool = False
    gradient_predivide_factor: float = 1.0
    op: ReduceOp = ReduceOp.AVERAGE
    groups: int | Sequence[Sequence[Any]] | None = None
    process_set: ProcessSet = global_process_set
    scale_local_gradients: bool = True

    def __post_init__(self) -> None:
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
                fix="leave it out or use op=Average",
            )
        if self.op == ReduceOp.ADASUM:
            adasum.require_power_of_two(self.process_set)
        if isinstance(self.groups, int) and self.groups < 0:
            raise ConfigError(
                "groups",
                got=self.groups,
                expected="a non-negative number or a list of lists of variables",
                fix="leave it out",
            )

    def describe(self) -> dict[str, Any]:
        """Returns the settings as JSON, for the comparison over ranks."""
        groups = self.groups
        if groups is not None and not isinstance(groups, int):
            groups = [[variable_path(v).rsplit("/", 1)[-1] for v in group] for group in groups]
        return {
            "compression": self.compression.__name__,
            "sparse_as_dense": self.sparse_as_dense,
            "gradient_predivide_factor": self.gradient_predivide_factor,
            "op": self.op.name,
            "groups": groups,
            "process_set": None if self.process_set.ranks is None else list(self.process_set.ranks),
            "scale_local_gradients": self.scale_local_gradients,
        }


class GradientReduction:
    """Combines the gradients of the ranks and, once, checks that it did.

    Args:
        settings: How.
        name: Prefix of the operations' names, the same on all ranks.

    Attributes:
        local_variables: Ids of the native variables whose gradients stay on their rank.
        clock: Measures the reductions if there is one; set before the first step is traced.
    """

    def __init__(self, settings: ReductionSettings, name: str) -> None:
        self.settings = settings
        self.name = name
        self.local_variables: set[int] = set()
        self.clock: ReductionClock | None = None
        self._is_checked: tf.Variable | None = None

    @property
    def size(self) -> int:
        """Number of ranks that take part; 1 for a rank outside the process set."""
        distributed.current()  # raises if init() was forgotten, instead of training alone
        if not self.settings.process_set.included():
            return 1
        return self.settings.process_set.size() or 1

    def is_local(self, variable: Any) -> bool:
        """Returns whether the gradient of `variable` stays on its rank."""
        return id(native_variable(variable)) in self.local_variables

    def reduce(self, gradients: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
        """Returns the gradients that all ranks apply.

        Collective: every rank of the process set must call this.

        Args:
            gradients: Tensors, `tf.IndexedSlices` or None, one per variable.
            variables: The variables, in the same order on all ranks.
        """
        result = list(gradients)
        if self.size == 1:
            return result
        present = [gradient for gradient in gradients if gradient is not None]
        began = self.clock.begin(present) if self.clock else None
        dense: list[int] = []
        for index, (gradient, variable) in enumerate(zip(gradients, variables, strict=True)):
            if gradient is None:
                continue
            if self.is_local(variable):
                result[index] = self._scale_local(gradient)
            elif isinstance(gradient, tf.IndexedSlices) and not self.settings.sparse_as_dense:
                result[index] = operations.allreduce_slices(
                    gradient,
                    self.settings.op,
                    f"{self.name}.{index}",
                    self.settings.process_set,
                )
            else:
                result[index] = dense_gradient(gradient, variable)
                dense.append(index)
        local = [result[index] for index in dense]
        reduced = self._reduce_dense(local, [variables[index] for index in dense])
        for index, gradient in zip(dense, reduced, strict=True):
            result[index] = gradient
        if self.clock:
            self.clock.end(began, [gradient for gradient in result if gradient is not None])
        self._check_once(local, reduced, [variable_path(variables[index]) for index in dense])
        return result

    def _scale_local(self, gradient: Any) -> Any:
        if not self.settings.scale_local_gradients:
            return gradient
        if isinstance(gradient, tf.IndexedSlices):
            return tf.IndexedSlices(
                gradient.values / self.size, gradient.indices, gradient.dense_shape
            )
        return gradient / self.size

    def _reduce_dense(self, gradients: list[tf.Tensor], variables: list[Any]) -> list[tf.Tensor]:
        op, divide = self.settings.op, self.settings.gradient_predivide_factor
        factors: dict[str, Any] = {"op": op}
        if divide != 1.0:
            factors = {
                "op": ReduceOp.SUM,
                "prescale_factor": 1.0 / divide,
                "postscale_factor": divide / self.size,
            }
        reduced: list[Any] = [None] * len(gradients)
        for number, group in enumerate(self._groups(gradients, variables)):
            results = operations.grouped_allreduce(
                [gradients[index] for index in group],
                name=f"{self.name}.group_{number}",
                compression=self.settings.compression,
                process_set=self.settings.process_set,
                **factors,
            )
            for index, tensor in zip(group, results, strict=True):
                reduced[index] = tensor
        return reduced

    def _groups(self, gradients: list[tf.Tensor], variables: list[Any]) -> list[list[int]]:
        groups = self.settings.groups
        indices = list(range(len(gradients)))
        if not indices:
            return []
        if not groups:
            return by_dtype(buckets(gradients), gradients)
        if isinstance(groups, int):
            count = min(groups, len(indices))
            return by_dtype([list(part) for part in np.array_split(indices, count)], gradients)
        group_of = {
            id(native_variable(variable)): number
            for number, group in enumerate(groups)
            for variable in group
        }
        named: dict[Any, list[int]] = {}
        for index in indices:
            # A variable of no group travels by itself.
            key = group_of.get(id(native_variable(variables[index])), f"alone {index}")
            named.setdefault(key, []).append(index)
        return by_dtype(list(named.values()), gradients)

    def _check_once(
        self, local: list[tf.Tensor], reduced: list[tf.Tensor], names: list[str]
    ) -> None:
        """Compares the first reduction with the gathered gradients. See `proof`."""
        if not local:
            return
        if self._is_checked is None:
            with tf.init_scope():
                self._is_checked = tf.Variable(False, trainable=False, name="reduction_checked")
        is_checked = self._is_checked

        def check() -> None:
            done = consistency.check_reduction(
                local,
                reduced,
                names,
                self._formula(),
                self._tolerances(local),
                self.settings.process_set,
            )
            is_checked.assign(done)

        run_if(tf.logical_not(is_checked.read_value()), check)

    def _formula(self) -> Callable[[np.ndarray], np.ndarray] | None:
        if self.settings.compression.__dict__.get("relative_tolerance") is None:
            return None  # a compressor of the user's own: no bound is known
        if self.settings.op == ReduceOp.ADASUM:
            return None
        if self.settings.op == ReduceOp.SUM:
            return lambda rows: rows.sum(axis=0)
        return lambda rows: rows.mean(axis=0)

    def _tolerances(self, gradients: list[tf.Tensor]) -> tuple[float, float]:
        settings = self.settings
        if settings.compression.__dict__.get("relative_tolerance") is None:
            return 0.0, 0.0
        compressor = settings.compression
        if any(gradient.dtype.size == 2 for gradient in gradients):
            compressor = Compression.fp16  # half precision by itself is no more exact
        factor = max(1.0, settings.gradient_predivide_factor)
        if settings.op == ReduceOp.SUM:
            factor *= self.size
        return compressor.relative_tolerance, compressor.absolute_tolerance * factor


def dense_gradient(gradient: Any, variable: Any) -> tf.Tensor:
    """Returns a gradient as a tensor of its variable's static shape.

    While a step is traced, TensorFlow may not know it: the gradient of a `Dense` kernel is
    `[None, units]` if the input has more than two dimensions and a batch of any size.

    Args:
        gradient: Tensor or `tf.IndexedSlices`.
        variable: Its variable, or the tensor that a tape watched.
    """
    tensor = tf.convert_to_tensor(gradient)
    shape = tf.TensorShape(native_variable(variable).shape)
    if tensor.shape.is_fully_defined() or not shape.is_fully_defined():
        return tensor
    return tf.ensure_shape(tensor, shape)


def agree_on_finite(gradients: Sequence[Any], process_set: ProcessSet, name: str) -> list[Any]:
    """Makes a rank's infinity everybody's, so that all ranks skip the step or none does.

    Collective: every rank of the process set must call this.

    Args:
        gradients: Tensors, `tf.IndexedSlices` or None.
        process_set: The ranks that take part.
        name: Name of the operation.

    Returns:
        The gradients; all NaN on every rank if one of them was not finite on any.
    """
    values = [getattr(g, "values", g) for g in gradients if g is not None]
    finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values])
    lowest = distributed.current().allreduce(
        tf.cast(finite, tf.float32), op=ReduceOp.MIN, name=name, process_set=process_set
    )
    factor = tf.where(lowest > 0, 1.0, np.nan)

    def poison(gradient: Any) -> Any:
        if gradient is None:
            return None
        if isinstance(gradient, tf.IndexedSlices):
            values = gradient.values * tf.cast(factor, gradient.values.dtype)
            return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
        return gradient * tf.cast(factor, gradient.dtype)

    return [poison(gradient) for gradient in gradients]
