"""The arguments of an optimizer's `apply`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hvd_imgcls.errors import ConfigError


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
    return list(optimizer._trainable_variables)
