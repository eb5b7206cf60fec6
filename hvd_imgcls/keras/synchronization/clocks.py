"""Measures how long a rank waits for its batches and for the other ranks' gradients.

Measurements are local to a rank; clocks of different machines are never compared.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvd_imgcls.keras.graph.waiting import time_of

_MAX_BUSY = 1000


class StepObserver(Protocol):
    """Is told what a rank does in a step."""

    def wait_for_batch(self) -> None:
        """It takes the next batch from the dataset."""

    def compute(self) -> None:
        """It computes, and waits for the gradients of other ranks."""

    def call_back(self) -> None:
        """It has computed, and runs callbacks."""


class BatchClock:
    """Measures how long `fit` waits for its next batch.

    `fit` takes a batch inside its step function, where it cannot be timed. Instead, the batch is
    taken before that function and passed to it, which costs no more: Keras supports both ways.
    This is the time that Python waits. With a GPU, which may still be computing, it is longer than
    the idle time of the device.

    Args:
        on_first_batch: Called with the first batch, before the first step.
        observer: Is told what happens; None for nobody.

    Attributes:
        seconds: Waiting time since `reset`.
    """

    def __init__(
        self,
        on_first_batch: Callable[[Any], None] | None = None,
        observer: StepObserver | None = None,
    ) -> None:
        self.seconds = 0.0
        self._observer = observer
        self._on_first_batch = on_first_batch
        self._function: Callable[[Any], Any] | None = None
        self._plain_function: Callable[[Any], Any] | None = None

    def start(self, model: keras.Model) -> bool:
        """Wraps a model's step function, inside `fit`; `stop` must follow.

        With `steps_per_execution` above 1 nothing is measured: TensorFlow then takes the batches
        in its own loop.

        Returns:
            Whether the function was not yet wrapped: `fit` has a new one, which will be traced.
        """
        if model.train_function is self._function or model.steps_per_execution != 1:
            return False
        plain_function, observer = model.train_function, self._observer

        def function(iterator: Any) -> Any:
            if observer is not None:
                observer.wait_for_batch()
            began = time.perf_counter()
            # Raises StopIteration at the end, as the function would.
            batch = next(iterator)
            self.seconds += time.perf_counter() - began
            if observer is not None:
                observer.compute()
            if self._on_first_batch is not None:
                on_first_batch, self._on_first_batch = self._on_first_batch, None
                on_first_batch(batch)
            logs = plain_function(iter((batch,)))
            if observer is not None:
                observer.call_back()
            return logs

        model.train_function = self._function = function
        self._plain_function = plain_function
        return True

    def stop(self, model: keras.Model) -> None:
        """Unwraps the step function, which Keras would keep for the next `fit`."""
        if self._function is not None and model.train_function is self._function:
            model.train_function = self._plain_function
        self._function = self._plain_function = None

    def reset(self) -> None:
        """Starts from zero."""
        self.seconds = 0.0


class ReductionClock:
    """Measures how long each reduction of the gradients takes, in the graph of the step.

    From having all gradients of this rank to having all reduced ones: the transfer, and before
    it the waiting for slower ranks. Gradients that are sent while others are still being
    computed cost nothing, and count nothing. On a GPU, times are those of launching operations.

    Measurements are kept in a queue until they are read: two more operations per step would cost
    more than the existing three.
    """

    def __init__(self) -> None:
        with tf.device("CPU:0"):
            self._queue = tf.queue.FIFOQueue(-1, [tf.float64] * 3, shapes=[[]] * 3)
            self._waited: tf.Variable | None = None
        self._seconds: list[float] = []
        self._busy: collections.deque[float] = collections.deque(maxlen=_MAX_BUSY)
        self._last_end: float | None = None

    def begin(self, gradients: Sequence[Any]) -> tf.Tensor:
        """Returns the time at which all gradients of this rank are ready, scalar, float64."""
        return time_of(gradients)

    def end(self, began: tf.Tensor, reduced: Sequence[Any]) -> None:
        """Records the reduction that started then and ended when all `reduced` are ready."""
        waited = tf.zeros([], tf.float64)
        if self._waited is not None:
            waited = self._waited.read_value()
            self._waited.assign(0.0)
        self._queue.enqueue([began, time_of(reduced), waited])

    def record_waiting(self, seconds: tf.Tensor) -> None:
        """Adds what a layer has waited for other ranks, before the gradients are ready.

        Args:
            seconds: Scalar, float64.
        """
        if self._waited is None:
            with tf.init_scope(), tf.device("CPU:0"):
                self._waited = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self._waited.assign_add(seconds)

    def peek(self) -> npt.NDArray[np.float64]:
        """Returns the seconds of every reduction since the last `take`, `[reductions]`."""
        self._read()
        return np.array(self._seconds)

    def take(self) -> npt.NDArray[np.float64]:
        """Returns the same as `peek` and clears it."""
        seconds = self.peek()
        self._seconds = []
        return seconds

    def take_busy(self, least: int) -> list[float]:
        """Returns the seconds between reductions, in which this rank waited for no other.

        Of the last 1000 since the last call. They include waiting for data, and callbacks.

        Args:
            least: Number of reductions below which nothing is taken yet.
        """
        self._read()
        if len(self._busy) < least:
            return []
        busy = list(self._busy)
        self._busy.clear()
        return busy

    def _read(self) -> None:
        began, ended, waited = (
            part.numpy() for part in self._queue.dequeue_many(self._queue.size())
        )
        # The clock is wall-clock time, which may be set back during a step.
        self._seconds += np.maximum(ended - began, 0.0).tolist()
        rows = zip(began.tolist(), ended.tolist(), waited.tolist(), strict=True)
        for begin, end, wait in rows:
            if self._last_end is not None:
                self._busy.append(max(0.0, begin - self._last_end - wait))
            self._last_end = end
