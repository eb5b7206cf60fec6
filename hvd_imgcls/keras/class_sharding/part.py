"""This rank's part of the classes, and communication with the other parts."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ProcessSet, ReduceOp, global_process_set
from hvd_imgcls.keras.class_sharding.targets import targets_from
from hvd_imgcls.keras.graph.waiting import timed
from hvd_imgcls.plan.class_division import ClassDivision


class ClassPart:
    """The classes of this rank.

    Args:
        division: How the classes are divided.
        rank: This rank.
        group: The ranks that have one copy of the last layer; all ranks if there is one copy.
        copies: The ranks that have the same part, if there are several.
    """

    def __init__(
        self,
        division: ClassDivision,
        rank: int,
        *,
        group: ProcessSet = global_process_set,
        copies: ProcessSet | None = None,
    ) -> None:
        self.division = division
        self.number = division.part(rank)
        self.classes = division.classes(self.number)
        self.group, self.copies = group, copies

    def gather(self, rows: tf.Tensor, name: str) -> tf.Tensor:
        """Returns the rows of all ranks of the group, `[group_batch, ...]`, in their order.

        Not differentiable: see `gather_features`. Collective: every rank must call this.

        Args:
            rows: `[batch, ...]`.
            name: Name of the operation.
        """
        return self._gather(rows, name, self.group, self.division.num_parts)

    def gather_over_copies(self, rows: tf.Tensor, name: str) -> tf.Tensor:
        """Returns the rows of all ranks with the same part. Collective.

        Args:
            rows: `[rows, ...]`.
            name: Name of the operation.
        """
        if self.copies is None:
            return rows
        number = self.division.size // self.division.num_parts
        return self._gather(rows, name, self.copies, number)

    def _gather(self, rows: tf.Tensor, name: str, process_set: ProcessSet, size: int) -> tf.Tensor:
        if size == 1:
            return rows
        ranks = distributed.current()
        gathered = self._timed(
            lambda own: ranks.allgather(own, name=_named(name), process_set=process_set), rows
        )
        # Horovod does not know the shape of the result in a graph.
        return tf.ensure_shape(gathered, [None, *rows.shape[1:]])

    def gather_targets(self, y_true: tf.Tensor) -> tf.Tensor:
        """Returns the targets of all ranks of the group, `[group_batch, 2 k]`. Collective.

        Args:
            y_true: Targets of this rank's batch: see `targets_from`.

        Raises:
            tf.errors.InvalidArgumentError: When the step runs, on all ranks of the group, if they
                have different numbers of examples.
        """
        targets = targets_from(y_true)
        num_own = tf.cast(tf.shape(targets)[0], tf.float32)
        numbers = tf.fill([tf.shape(targets)[0], 1], num_own)
        gathered = self.gather(tf.concat([targets, numbers], axis=-1), "targets")
        sizes = gathered[:, -1]
        check = tf.debugging.assert_equal(
            sizes,
            tf.fill(tf.shape(sizes), num_own),
            message="class_sharded: got batches of different sizes on the ranks, expected equal "
            "ones; use dataset.batch(n, drop_remainder=True), or as many examples on every rank",
        )
        with tf.control_dependencies([check] if check is not None else []):
            return tf.identity(gathered[:, :-1])

    def reduce(self, values: tf.Tensor, op: ReduceOp, name: str) -> tf.Tensor:
        """Returns values reduced over the group. Collective: every rank must call this."""
        return self._reduce(values, op, name, self.group, self.division.num_parts)

    def own_rows(self, rows: tf.Tensor, num_own: tf.Tensor) -> tf.Tensor:
        """Returns the rows of this rank.

        Args:
            rows: `[group_batch, ...]`.
            num_own: Examples of this rank's batch, and of any other's, scalar, int32.
        """
        first = self.number * num_own
        return rows[first : first + num_own]

    def gather_features(self, features: tf.Tensor) -> tf.Tensor:
        """Returns the features of all ranks of the group, `[group_batch, features]`.

        Its gradient is that of the sum of the losses of the group: summed over the parts.
        Collective, and so is its gradient: every rank must call this.

        Args:
            features: `[batch, features]`, float32.
        """
        num_own = tf.shape(features)[0]

        @tf.custom_gradient
        def gather(own: tf.Tensor) -> tuple[tf.Tensor, Any]:
            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                return self._sum_of_own_rows(upstream, num_own)

            return self.gather(own, "features"), gradient

        return gather(features)

    def _sum_of_own_rows(self, rows: tf.Tensor, num_own: tf.Tensor) -> tf.Tensor:
        """Returns this rank's rows of the sum over the group. Collective.

        With an alltoall: after Gloo's reducescatter, the next operation takes 150 ms.
        """
        num_parts = self.division.num_parts
        if num_parts == 1:
            return rows
        ranks, sizes = distributed.current(), tf.fill([num_parts], num_own)

        def send(own: tf.Tensor) -> tf.Tensor:
            name = _named("features.gradient")
            return ranks.alltoall(own, sizes, name=name, process_set=self.group)[0]

        received = self._timed(send, rows)
        # Added in the order of the ranks.
        return tf.reduce_sum(tf.reshape(received, [num_parts, num_own, *rows.shape[1:]]), axis=0)

    def sum_over_copies(self, values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Returns variables whose gradients are summed over the ranks with the same part.

        Their gradient is collective: every rank must compute it.
        """
        if self.copies is None:
            return list(values)
        return [
            self._with_summed_gradient(value, f"gradient_of_copies.{index}")
            for index, value in enumerate(values)
        ]

    def _with_summed_gradient(self, value: tf.Tensor, name: str) -> tf.Tensor:
        copies = self.copies
        assert copies is not None  # noqa: S101

        @tf.custom_gradient
        def identity(one: tf.Tensor) -> tuple[tf.Tensor, Any]:
            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                number = self.division.size // self.division.num_parts
                return self._reduce(upstream, ReduceOp.SUM, name, copies, number)

            return tf.identity(one), gradient

        return identity(value)

    def _reduce(
        self, values: tf.Tensor, op: ReduceOp, name: str, process_set: ProcessSet, size: int
    ) -> tf.Tensor:
        if size == 1:
            return values
        ranks = distributed.current()
        return self._timed(
            lambda own: ranks.allreduce(own, op=op, name=_named(name), process_set=process_set),
            values,
        )

    def _timed(self, communicate: Any, values: tf.Tensor) -> tf.Tensor:
        # Waiting here is waiting for other ranks: the allocation must not take it for computing.
        return timed(functools.partial(communicate), values)


def _named(name: str) -> str:
    return f"class_sharding.{name}"
