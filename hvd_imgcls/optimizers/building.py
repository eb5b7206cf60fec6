"""The optimizers by their names in a pipeline file, without extensions."""

from __future__ import annotations

from typing import Any

import keras

from hvd_imgcls.config.optimizers import Adam, AdamW, Lamb, Lars, Optimizer, Sgd
from hvd_imgcls.optimizers.lars import Lars as LarsOptimizer


def make_optimizer(config: Optimizer, learning_rate: Any) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a configuration: Keras's own if there is one.

    `build_recipe` handles options of the section beyond the arguments of the class.

    Args:
        config: The `optimizer` section.
        learning_rate: A number or a schedule.
    """
    if isinstance(config, Adam):
        return keras.optimizers.Adam(learning_rate, **_moments(config))
    decay = config.weight_decay or None
    if isinstance(config, Sgd):
        return keras.optimizers.SGD(
            learning_rate,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=decay if config.weight_decay_kind == "decoupled" else None,
        )
    if isinstance(config, Lars):
        return LarsOptimizer(
            learning_rate,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=decay,
            trust_coefficient=config.trust_coefficient,
            epsilon=config.epsilon,
        )
    if isinstance(config, AdamW):
        decay = config.weight_decay  # The class does not accept None.
        return keras.optimizers.AdamW(learning_rate, weight_decay=decay, **_moments(config))
    if isinstance(config, Lamb):
        return keras.optimizers.Lamb(learning_rate, weight_decay=decay, **_moments(config))
    return keras.optimizers.Muon(
        learning_rate,
        momentum=config.momentum,
        nesterov=config.nesterov,
        adam_beta_1=config.beta_1,
        adam_beta_2=config.beta_2,
        epsilon=config.epsilon,
        weight_decay=decay,
        adam_weight_decay=decay,
    )


def _moments(config: Adam | AdamW | Lamb) -> dict[str, float]:
    return {"beta_1": config.beta_1, "beta_2": config.beta_2, "epsilon": config.epsilon}
