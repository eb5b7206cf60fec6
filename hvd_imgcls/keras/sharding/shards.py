"""Variables that are divided over the ranks: every rank has an equal part of each.

A part is a variable of its own, with the values of a flat variable from one place to another. Only
the optimizer knows the parts: it creates its state for them, and updates them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvd_imgcls.distributed import ProcessSet, ReduceOp
from hvd_imgcls.keras.communication import operations
from hvd_imgcls.keras.graph.variables import native_variable, variable_path


def shard_length(num_values: int, size: int) -> int:
    """Returns the number of values of each rank's part; the last one is filled with zeros.

    >>> shard_length(10, 4)
    3
    """
    return -(-num_values // size)


class Shards:
    """This rank's parts of variables.

    Args:
        process_set: The ranks that variables are divided over.
        size: Their number.
        position: Number of this rank among them.

    Attributes:
        slots: Variables of the optimizer that belong to parts, each with its whole variable.
    """

    def __init__(self, process_set: ProcessSet, size: int, position: int) -> None:
        self.slots: list[tuple[Any, Any]] = []
        self._process_set = process_set
        self._size, self._position = size, position
        self._parts: dict[int, Any] = {}

    def build(self, variables: Sequence[Any]) -> list[Any]:
        """Creates the parts of variables, and returns them.

        Args:
            variables: Built variables.
        """
        for variable in variables:
            native = native_variable(variable)
            if id(native) not in self._parts:
                self._parts[id(native)] = self._make(variable, native)
        return self.of(variables)

    def of(self, variables: Sequence[Any]) -> list[Any]:
        """Returns the parts of variables; those that are not divided themselves."""
        return [self._parts.get(id(native_variable(one)), one) for one in variables]

    def has(self, variable: Any) -> bool:
        """Whether a variable is divided."""
        return id(native_variable(variable)) in self._parts

    def _make(self, variable: Any, native: tf.Variable) -> Any:
        values = self.part_of(native.read_value())
        part: Any = keras.Variable(values, dtype=native.dtype.name, name=variable.name)
        # The names of the optimizer's variables contain it.
        part._path = variable_path(variable)
        part.whole = variable
        return part

    def part_of(self, tensor: tf.Tensor) -> tf.Tensor:
        """Returns this rank's part of a tensor, flat."""
        num_values = tensor.shape.num_elements()
        length = shard_length(num_values, self._size)
        first = self._position * length
        part = tf.reshape(tensor, [-1])[first : first + length]
        missing = length - max(0, min(num_values - first, length))
        return tf.pad(part, [[0, missing]]) if missing else part

    def reduce(
        self,
        tensors: Sequence[tf.Tensor],
        groups: list[list[int]],
        *,
        op: ReduceOp,
        compression: Any,
        name: str,
    ) -> list[tf.Tensor]:
        """Returns this rank's parts of the sums or means over the ranks.

        Collective: every rank of the process set must call this.

        Args:
            tensors: Of static shapes, the same on all ranks.
            groups: Indices of the tensors that are sent together, each of a single dtype.
            op: Average or Sum.
            compression: With `compress` and `decompress`.
            name: Prefix of the names of the operations.
        """
        reduced: list[Any] = [None] * len(tensors)
        for number, group in enumerate(groups):
            rows = tf.concat([self._rows(tensors[index]) for index in group], axis=1)
            sent, context = compression.compress(rows)
            received = operations.reducescatter(
                sent, name=f"{name}.group_{number}", op=op, process_set=self._process_set
            )
            own = tf.reshape(compression.decompress(received, context), [-1])
            lengths = [
                shard_length(tensors[index].shape.num_elements(), self._size) for index in group
            ]
            for index, part in zip(group, tf.split(own, lengths), strict=True):
                reduced[index] = part
        return reduced

    def _rows(self, tensor: tf.Tensor) -> tf.Tensor:
        """Returns the parts of all ranks, `[size, length]`."""
        num_values = tensor.shape.num_elements()
        length = shard_length(num_values, self._size)
        flat = tf.reshape(tensor, [-1])
        missing = self._size * length - num_values
        padded = tf.pad(flat, [[0, missing]]) if missing else flat
        return tf.reshape(padded, [self._size, length])

    def take(self, variables: Sequence[Any]) -> None:
        """Sets the parts to the values of their variables."""
        for variable, part in zip(variables, self.of(variables), strict=True):
            if self.has(variable):
                part.assign(self.part_of(native_variable(variable).read_value()))

    def share(
        self,
        variables: Sequence[Any],
        make_groups: Callable[[list[tf.Tensor]], list[list[int]]],
        name: str,
    ) -> None:
        """Sets variables to the values of the parts of all ranks, and applies constraints.

        Collective: every rank of the process set must call this.

        Args:
            variables: The variables; those that are not divided are left alone.
            make_groups: Returns the indices of tensors that are sent together.
            name: Prefix of the names of the operations.
        """
        divided = [variable for variable in variables if self.has(variable)]
        parts = [tf.convert_to_tensor(part) for part in self.of(divided)]
        for number, group in enumerate(make_groups(parts)):
            own = tf.concat([parts[index] for index in group], axis=0)[tf.newaxis]
            rows = own
            if self._size > 1:
                rows = operations.allgather(
                    own, name=f"{name}.group_{number}", process_set=self._process_set
                )
            lengths = [parts[index].shape[0] for index in group]
            columns = tf.split(rows, lengths, axis=1)
            for index, column in zip(group, columns, strict=True):
                self._assign(divided[index], column)

    def _assign(self, variable: Any, rows: tf.Tensor) -> None:
        native = native_variable(variable)
        flat = tf.reshape(rows, [-1])[: native.shape.num_elements()]
        native.assign(tf.reshape(flat, native.shape))
        constraint = getattr(variable, "constraint", None)
        if constraint is not None:
            variable.assign(constraint(variable))

    def norms(self, tensors: Sequence[tf.Tensor | None], name: str) -> tf.Tensor:
        """Returns the norms of whole tensors, from this rank's parts, `[tensors]`, float32.

        Collective: every rank of the process set must call this.
        """
        squares = tf.stack([_square_sum(one) for one in tensors])
        if self._size > 1:
            squares = operations.allreduce(
                squares, name=name, op=ReduceOp.SUM, process_set=self._process_set
            )
        return tf.sqrt(squares)

    def state(self) -> list[np.ndarray]:
        """Returns the optimizer's variables of this rank."""
        return [native_variable(slot).numpy() for slot, _ in self.slots]

    def restore(self, values: Sequence[np.ndarray], *, are_whole: bool) -> None:
        """Restores the result of `state`.

        Args:
            values: In the same order.
            are_whole: Whether they are the parts of all ranks, in their order, of any number of
                ranks.
        """
        for (slot, variable), value in zip(self.slots, values, strict=True):
            native = native_variable(slot)
            if are_whole:
                num_values = native_variable(variable).shape.num_elements()
                native.assign(self.part_of(tf.constant(np.asarray(value)[:num_values])))
            else:
                native.assign(value)


def _square_sum(tensor: tf.Tensor | None) -> tf.Tensor:
    return tf.constant(0.0) if tensor is None else tf.reduce_sum(tf.cast(tensor, tf.float32) ** 2)
