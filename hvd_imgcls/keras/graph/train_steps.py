"""Replaces the training step of a model for a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras

TrainStep = Callable[[Any], Any]


@contextlib.contextmanager
def wrapped_train_step(model: keras.Model, wrap: Callable[[TrainStep, Any], Any]) -> Iterator[None]:
    """Context manager in which a function is called in place of a model's training step.

    Args:
        model: The model; compiled within the context, because a step that is already traced does
            not change.
        wrap: Takes the training step and its batch, and returns what the step returns.
    """
    train_step, before = model.train_step, vars(model).get("train_step")
    # On the instance, in front of the class's method. Not `setattr`, which Keras tracks.
    vars(model)["train_step"] = lambda data: wrap(train_step, data)
    try:
        yield
    finally:
        del vars(model)["train_step"]
        if before is not None:
            vars(model)["train_step"] = before
