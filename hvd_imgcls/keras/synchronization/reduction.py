"""Reduces this rank's gradients: everything around the synchronization mode.

Local variables, sparse gradients, groups, the clock and the check of the first reduction are
common to all modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from hvd_imgcls.distributed import ReduceOp
from hvd_imgcls.keras.checks import consistency
from hvd_imgcls.keras.communication.compression import Compression
from hvd_imgcls.keras.graph.host_callback import run_if
from hvd_imgcls.keras.graph.variables import native_variable, variable_path
from hvd_imgcls.keras.synchronization.clocks import ReductionClock
from hvd_imgcls.keras.synchronization.grouping import make_groups
from hvd_imgcls.keras.synchronization.mode import SynchronizationMode
from hvd_imgcls.keras.synchronization.settings import ReductionSettings


class GradientReduction:
    """Reduces the gradients of the ranks and checks the first reduction.

    Args:
        mode: How dense gradients are reduced.

    Attributes:
        local_variables: Ids of the native variables whose gradients are not reduced.
        part_variables: Ids of those among them that are parts of a variable of all ranks.
        clock: Measures the reductions, if set before the first step is traced.
    """

    def __init__(self, mode: SynchronizationMode) -> None:
        self.mode = mode
        self.local_variables: set[int] = set()
        self.part_variables: set[int] = set()
        self.clock: ReductionClock | None = None
        self._is_checked: tf.Variable | None = None

    @property
    def settings(self) -> ReductionSettings:
        """The settings."""
        return self.mode.settings

    @property
    def size(self) -> int:
        """Number of participating ranks; 1 for a rank outside the process set."""
        return self.mode.size

    def measured(self) -> ReductionClock:
        """Returns the clock, after creating it if there is none."""
        # A step that is already traced contains the clock of that time.
        self.clock = self.clock or ReductionClock()
        return self.clock

    def is_local(self, variable: Any) -> bool:
        """Returns whether `variable` is local, that is, its gradient is not reduced."""
        return id(native_variable(variable)) in self.local_variables

    def checked(self, gradients: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
        """Returns the gradients in which NaN and infinity skip an update."""
        ignored = self.local_variables - self.part_variables
        pairs = zip(gradients, variables, strict=True)
        return [g for g, v in pairs if id(native_variable(v)) not in ignored]

    def without_parts(self, gradients: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
        """Returns the gradients that show on which rank a NaN is: those of parts have it on all."""
        pairs = zip(gradients, variables, strict=True)
        return [g for g, v in pairs if id(native_variable(v)) not in self.part_variables]

    def shared(self, variables: Sequence[Any]) -> list[Any]:
        """Returns the variables that are not local."""
        return [variable for variable in variables if not self.is_local(variable)]

    def reduce(self, gradients: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
        """Returns the gradients that this rank applies.

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
                result[index] = self.mode.reduce_slices(gradient, f"{self.mode.name}.{index}")
            else:
                result[index] = dense_gradient(gradient, variable)
                dense.append(index)
        local = [result[index] for index in dense]
        owners = [variables[index] for index in dense]
        groups = make_groups(self.settings.fixed_groups, local, owners)
        reduced = self.mode.reduce(local, owners, groups)
        for index, gradient in zip(dense, reduced, strict=True):
            result[index] = gradient
        if self.clock:
            self.clock.end(began, [gradient for gradient in result if gradient is not None])
        self._check_once(local, reduced, [variable_path(owner) for owner in owners])
        return result

    def _scale_local(self, gradient: Any) -> Any:
        if not self.settings.scale_local_gradients:
            return gradient
        if isinstance(gradient, tf.IndexedSlices):
            return tf.IndexedSlices(
                gradient.values / self.size, gradient.indices, gradient.dense_shape
            )
        return gradient / self.size

    def _check_once(
        self, local: list[tf.Tensor], reduced: list[tf.Tensor], names: list[str]
    ) -> None:
        """Compares the first reduction with the gathered gradients."""
        if not local or not self.mode.reduces_to_equal:
            return
        if self._is_checked is None:
            with tf.init_scope():
                self._is_checked = tf.Variable(False, trainable=False, name="reduction_checked")
        is_checked, tolerances = self._is_checked, self._tolerances(local)

        def check() -> None:
            done = consistency.check_reduction(
                local,
                reduced,
                names,
                self.mode.formula() if tolerances else None,
                tolerances or (0.0, 0.0),
                self.settings.process_set,
            )
            is_checked.assign(done)

        run_if(tf.logical_not(is_checked.read_value()), check)

    def _tolerances(self, gradients: list[tf.Tensor]) -> tuple[float, float] | None:
        """Returns the relative and the absolute tolerance; None if no bound is known."""
        settings, compressor = self.settings, self.settings.compression
        if settings.is_lossy or compressor.__dict__.get("relative_tolerance") is None:
            return None  # also a custom compressor
        if any(gradient.dtype.size == 2 for gradient in gradients):
            compressor = Compression.fp16  # half precision itself is no more exact
        factor = max(1.0, settings.gradient_predivide_factor)
        if settings.op == ReduceOp.SUM:
            factor *= self.size
        return compressor.relative_tolerance, compressor.absolute_tolerance * factor


def dense_gradient(gradient: Any, variable: Any) -> tf.Tensor:
    """Returns a gradient as a tensor of its variable's static shape.

    During tracing, TensorFlow may not know it: the gradient of a `Dense` kernel is
    `[None, units]` if the input has more than two dimensions and an unknown batch size.

    Args:
        gradient: Tensor or `tf.IndexedSlices`.
        variable: Its variable, or the watched tensor.
    """
    tensor = tf.convert_to_tensor(gradient)
    shape = tf.TensorShape(native_variable(variable).shape)
    if tensor.shape.is_fully_defined() or not shape.is_fully_defined():
        return tensor
    return tf.ensure_shape(tensor, shape)
