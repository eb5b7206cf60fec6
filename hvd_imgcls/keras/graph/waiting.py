"""Measures how long the layers of a step wait for other ranks."""

from __future__ import annotations

import contextlib
import contextvars
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.config import is_op_determinism_enabled

from hvd_imgcls.keras.graph.host_callback import call_python

Record = Callable[[tf.Tensor], None]

_RECORD: contextvars.ContextVar[Record | None] = contextvars.ContextVar("record", default=None)


@contextlib.contextmanager
def recording_waiting(record: Record) -> Iterator[None]:
    """Context manager in which traced layers record their waiting.

    Args:
        record: Called during tracing, with the seconds of every communication, scalar, float64.
    """
    token = _RECORD.set(record)
    try:
        yield
    finally:
        _RECORD.reset(token)


def timed(communicate: Callable[[tf.Tensor], tf.Tensor], tensor: tf.Tensor) -> tf.Tensor:
    """Returns `communicate(tensor)`, and records how long it takes, if anything records that."""
    record = _RECORD.get()
    if record is None:
        return communicate(tensor)
    began = time_of([tensor])
    with tf.control_dependencies([began]):
        result = communicate(tf.identity(tensor))
    record(time_of([result]) - began)
    return result


def time_of(tensors: Sequence[Any]) -> tf.Tensor:
    """Returns the wall-clock time at which all tensors are ready, in seconds, float64."""
    with tf.control_dependencies([getattr(one, "values", one) for one in tensors]):
        if is_op_determinism_enabled():
            # TensorFlow refuses its own clock. No gradient depends on this one.
            return call_python(time.time, [], tf.float64, [])
        return tf.timestamp()
