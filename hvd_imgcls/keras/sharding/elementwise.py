"""Which optimizers can work on parts of variables."""

from __future__ import annotations

from typing import Any

import keras

from hvd_imgcls.errors import ConfigError

ELEMENTWISE = (
    "SGD",
    "RMSprop",
    "Adam",
    "AdamW",
    "Adadelta",
    "Adagrad",
    "Adamax",
    "Nadam",
    "Ftrl",
    "Lion",
)
"""Optimizers of Keras that treat every value of a variable like any other."""


def require_elementwise(optimizer: Any) -> None:
    """Raises a ConfigError unless an optimizer can work on parts of variables.

    Args:
        optimizer: A Keras optimizer, maybe with extensions.
    """
    plain = optimizer.__class__
    extension = next(
        (one for one in type(optimizer).__mro__ if vars(one).get("needs_whole_variables")), None
    )
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        got = "an optimizer that scales the loss"
    elif plain not in [getattr(keras.optimizers, name) for name in ELEMENTWISE]:
        got = plain.__name__
    elif extension is not None:
        got = f"{plain.__name__} with {extension.needs_whole_variables}"  # type: ignore[attr-defined]
    elif optimizer.gradient_accumulation_steps:
        got = "an optimizer that accumulates gradients itself"
    else:
        return
    raise ConfigError(
        "shard_optimizer_state",
        got=got,
        expected=f"one of {', '.join(ELEMENTWISE)} without loss scaling: every other one needs "
        "whole variables",
        fix="use one of them, or do not divide the state",
    )
