"""The optimizers by the name that a pipeline file uses. All of them are Keras's own."""

from __future__ import annotations

from typing import Any

import keras

from hvd_imgcls.config.optimizers import Optimizer


def build_optimizer(config: Optimizer, learning_rate: Any) -> keras.optimizers.Optimizer:
    """Returns the optimizer that a configuration names.

    Args:
        config: The `optimizer` section.
        learning_rate: A number or a schedule.
    """
    if config.name == "sgd":
        return keras.optimizers.SGD(
            learning_rate,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay or None,
        )
    moments = {"beta_1": config.beta_1, "beta_2": config.beta_2, "epsilon": config.epsilon}
    if config.name == "adam":
        return keras.optimizers.Adam(learning_rate, **moments)
    return keras.optimizers.AdamW(learning_rate, weight_decay=config.weight_decay, **moments)
