"""Which examples of a batch count for layers that compute across the batch.

Examples of weight 0, such as padding, have no part in the loss, and must have none in the moments
of batch normalisation. Layers do not get weights from Keras; the training step passes them on.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls.keras.graph.train_steps import TrainStep, wrapped_train_step

_PRESENT: contextvars.ContextVar[tf.Tensor | None] = contextvars.ContextVar("present", default=None)


def present_examples() -> tf.Tensor | None:
    """Returns which examples of the present batch count, bool `[batch]`; None if all do."""
    return _PRESENT.get()


@contextlib.contextmanager
def counting(weights: tf.Tensor) -> Iterator[None]:
    """Context manager in which examples of weight 0 do not count.

    Args:
        weights: `[batch]`.
    """
    token = _PRESENT.set(weights > 0)
    try:
        yield
    finally:
        _PRESENT.reset(token)


def ignoring_weight_zero(model: keras.Model) -> contextlib.AbstractContextManager[None]:
    """Returns a context manager in which `fit` ignores examples of weight 0 in accelerated layers.

    Batch normalisation then computes as if they were not in the batch, with synchronisation and
    without; layers of other classes see them.

    Args:
        model: The model; compiled within the context, because a step that is already traced does
            not change.
    """
    return wrapped_train_step(model, _counting_present)


def _counting_present(train_step: TrainStep, data: Any) -> Any:
    _, _, weights = keras.utils.unpack_x_y_sample_weight(data)
    if weights is None:
        return train_step(data)
    with counting(weights):
        return train_step(data)


def layers_that_see_all(model: keras.Model) -> list[str]:
    """Returns the layers that may compute across the batch without knowing what counts.

    These are layers of the user's own classes: names and classes, as text.

    Args:
        model: An accelerated model.
    """
    return [
        f"{layer.name} ({type(layer).__name__})"
        for layer in model._flatten_layers(include_self=False)
        if not type(layer).__module__.startswith(("keras.", "hvd_imgcls."))
    ]
