"""Clocks inside a training: what a rank waits for its batches and for the other ranks' gradients.

Both measure on this rank alone and compare nothing with another machine's clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf


class BatchClock:
    """Measures how long `fit` waits for its next batch.

    `fit` takes a batch inside its step function, where no clock sees it. So the batch is taken
    in front of that function and handed to it, which costs no more: Keras knows both ways.
    It is the time for which Python waited: on a GPU, which may still be working meanwhile, it is
    more than the time for which the device had nothing to do.

    Args:
        on_first_batch: Called with the first batch, before the first step.

    Attributes:
        seconds: Waited since `reset`.
    """

    def __init__(self, on_first_batch: Callable[[Any], None] | None = None) -> None:
        self.seconds = 0.0
        self._on_first_batch = on_first_batch
        self._function: Callable[[Any], Any] | None = None
        self._plain_function: Callable[[Any], Any] | None = None

    def start(self, model: keras.Model) -> bool:
        """Puts itself in front of a model's step function, inside `fit`; `stop` must follow.

        With `steps_per_execution` above 1 nothing is measured: TensorFlow takes the batches in a
        loop of its own.

        Returns:
            Whether it was not there yet: `fit` has a new step function, which will be traced.
        """
        if model.train_function is self._function or model.steps_per_execution != 1:
            return False
        plain_function = model.train_function

        def function(iterator: Any) -> Any:
            began = time.perf_counter()
            # At its end this raises StopIteration, as the function would.
            batch = next(iterator)
            self.seconds += time.perf_counter() - began
            if self._on_first_batch is not None:
                on_first_batch, self._on_first_batch = self._on_first_batch, None
                on_first_batch(batch)
            return plain_function(iter((batch,)))

        model.train_function = self._function = function
        self._plain_function = plain_function
        return True

    def stop(self, model: keras.Model) -> None:
        """Takes itself away again: Keras would keep the function for the next `fit`."""
        if self._function is not None and model.train_function is self._function:
            model.train_function = self._plain_function
        self._function = self._plain_function = None

    def reset(self) -> None:
        """Starts from zero."""
        self.seconds = 0.0


class ReductionClock:
    """Measures how long each reduction of the gradients takes, in the graph of the step itself.

    From the moment when this rank has all its gradients to the moment when it has all reduced
    ones: the transfer, and before it the waiting for ranks that are not as far yet. Gradients
    that travel while others are still being computed cost nothing, and count nothing. On a GPU
    "has" means that the operation was handed to the device.

    What it notes lies in a queue until somebody asks: two operations more in a step would cost more
    than the three that there are.
    """

    def __init__(self) -> None:
        with tf.device("CPU:0"):
            self._queue = tf.queue.FIFOQueue(-1, [tf.float64, tf.float64], shapes=[[], []])
        self._seconds: list[float] = []

    def begin(self, gradients: Sequence[Any]) -> tf.Tensor:
        """Returns the time when all gradients of this rank are there, scalar, float64."""
        return _time_of(gradients)

    def end(self, began: tf.Tensor, reduced: Sequence[Any]) -> None:
        """Notes the reduction that began then and has ended when all `reduced` are there."""
        self._queue.enqueue([began, _time_of(reduced)])

    def peek(self) -> npt.NDArray[np.float64]:
        """Returns the seconds of every reduction since the last `take`, `[reductions]`."""
        began, ended = self._queue.dequeue_many(self._queue.size())
        # The clock is that of the day, which may be set back while a step lasts.
        self._seconds += np.maximum(ended.numpy() - began.numpy(), 0.0).tolist()
        return np.array(self._seconds)

    def take(self) -> npt.NDArray[np.float64]:
        """Returns what `peek` does and forgets it."""
        seconds = self.peek()
        self._seconds = []
        return seconds


def _time_of(tensors: Sequence[Any]) -> tf.Tensor:
    """Returns the time of the day at which all tensors are there, in seconds."""
    with tf.control_dependencies([getattr(one, "values", one) for one in tensors]):
        return tf.timestamp()
