"""The arguments of optimizers and tapes: gradients, variables and local layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.optimizers.extending import whole


def variables_of(
    optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any] | None
) -> list[Any]:
    """Returns the variables of the gradients.

    Raises:
        ConfigError: If none are given and the optimizer was not built for the same number.
    """
    if variables is not None:
        return list(variables)
    if not optimizer.built or len(gradients) != len(optimizer._trainable_variables):
        raise ConfigError(
            "apply(grads)",
            got=f"{len(gradients)} gradients without variables",
            expected="the variables, or an optimizer built for the same number",
            fix="call apply_gradients(zip(gradients, variables))",
        )
    return [whole(variable) for variable in optimizer._trainable_variables]


def variables_of_local_layers(
    layers: keras.layers.Layer | Sequence[keras.layers.Layer] | None,
) -> list[Any]:
    """Returns the trainable variables of layers.

    Args:
        layers: One layer, several, or None.

    Raises:
        ConfigError: If one of them is not a built layer.
    """
    given = [layers] if isinstance(layers, keras.layers.Layer) else list(layers or ())
    for layer in given:
        if not isinstance(layer, keras.layers.Layer) or not layer.built:
            raise ConfigError(
                "local_layers",
                got=layer,
                expected="built Keras layers",
                fix="build the model before passing its layers",
            )
    return [variable for layer in given for variable in layer.trainable_weights]
