"""Ends an epoch on all ranks at once if nobody knows its number of batches beforehand."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.errors import RankMismatchError


class BatchAgreement:
    """A step function of `fit` that first asks all ranks how many batches they have.

    A generator may end earlier on one rank. The others would wait for its gradients until
    Horovod ends the run. The cost is one small message per call, only for data of unknown length.
    With `steps_per_execution` above 1, the batches of one execution are taken before it, and
    TensorFlow is called for each of them.

    Args:
        plain_function: The step function of the model.
        batches_per_call: `steps_per_execution` of the model.
    """

    def __init__(self, plain_function: Callable[[Any], Any], batches_per_call: int) -> None:
        self._plain_function = plain_function
        self._batches_per_call = batches_per_call
        self._num_batches = 0

    @classmethod
    def start(cls, model: keras.Model) -> None:
        """Wraps a model's step function, inside `fit`; `stop` must follow."""
        if model.train_function is not None:
            model.train_function = cls(model.train_function, model.steps_per_execution)

    @classmethod
    def stop(cls, model: keras.Model) -> None:
        """Unwraps the step function, which Keras would keep for the next `fit`."""
        if isinstance(model.train_function, cls):
            model.train_function = model.train_function._plain_function

    def __call__(self, iterator: Any) -> Any:
        """Takes the steps of one execution. Collective: every rank must call this.

        Raises:
            StopIteration: If no rank has a batch.
            RankMismatchError: On all ranks, if they have different numbers of batches.
        """
        batches = list(itertools.islice(iterator, self._batches_per_call))
        own = tf.constant([len(batches)], tf.int32)
        numbers = distributed.current().allgather(own, name="num_batches").numpy().tolist()
        if len(set(numbers)) == 1 and batches:
            self._num_batches += len(batches)
            return self._plain_function(iter(batches))
        before, self._num_batches = self._num_batches, 0
        if not any(numbers):
            raise StopIteration
        most = self._batches_per_call
        texts = [
            f"more than {before + most - 1} on rank {rank}"
            if number == most  # it may have more
            else f"{before + number} on rank {rank}"
            for rank, number in enumerate(numbers)
        ]
        raise RankMismatchError(
            f"the ranks have different numbers of batches in this epoch: {', '.join(texts)}\n"
            "  to fix it: use the same number on every rank, e.g. with steps_per_epoch"
        )
