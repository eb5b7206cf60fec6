"""Ends an epoch on all ranks at once if nobody knows its number of batches beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.errors import RankMismatchError


class BatchAgreement:
    """A step function of `fit` that first asks all ranks whether they have a batch.

    A generator may end earlier on one rank. The others would wait for its gradients until
    Horovod ends the run. The cost is one small message per batch, only for data of unknown length.
    With `steps_per_execution` above 1 nothing is asked: TensorFlow takes the batches itself.

    Args:
        plain_function: The step function of the model.
    """

    def __init__(self, plain_function: Callable[[Any], Any]) -> None:
        self._plain_function = plain_function
        self._num_batches = 0

    @classmethod
    def start(cls, model: keras.Model) -> None:
        """Wraps a model's step function, inside `fit`; `stop` must follow."""
        if model.steps_per_execution == 1 and model.train_function is not None:
            model.train_function = cls(model.train_function)

    @classmethod
    def stop(cls, model: keras.Model) -> None:
        """Unwraps the step function, which Keras would keep for the next `fit`."""
        if isinstance(model.train_function, cls):
            model.train_function = model.train_function._plain_function

    def __call__(self, iterator: Any) -> Any:
        """Takes one step. Collective: every rank must call this.

        Raises:
            StopIteration: If no rank has a batch.
            RankMismatchError: On all ranks, if only some of them have one.
        """
        missing = object()
        batch = next(iterator, missing)
        flag = tf.constant([int(batch is not missing)], tf.int32)
        flags = distributed.current().allgather(flag, name="has_batch").numpy().tolist()
        if all(flags):
            self._num_batches += 1
            return self._plain_function(iter((batch,)))
        num_batches, self._num_batches = self._num_batches, 0
        if not any(flags):
            raise StopIteration
        numbers = ", ".join(
            f"more than {num_batches} on rank {rank}" if flag else f"{num_batches} on rank {rank}"
            for rank, flag in enumerate(flags)
        )
        raise RankMismatchError(
            f"the ranks have different numbers of batches in this epoch: {numbers}\n  to fix it: "
            "use the same number on every rank, e.g. with steps_per_epoch"
        )
