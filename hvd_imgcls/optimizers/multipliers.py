"""A learning rate of its own for every variable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.optimizers.extending import Extension, extend


def with_learning_rate_multipliers(optimizer: Any, multiplier_of: Callable[[Any], float]) -> Any:
    """Returns the optimizer with a learning rate of its own for every variable.

    Works with every optimizer of Keras: what changes is the learning rate that each variable's
    update is given. Decoupled weight decay, which is multiplied by the learning rate, scales
    with it; so a variable with multiplier 0 never changes.

    Args:
        optimizer: A Keras optimizer that is not built yet.
        multiplier_of: From a variable to what the learning rate is multiplied by, at least 0.

    Raises:
        ConfigError: If the optimizer is built already or a multiplier is negative; the latter
            when it is built.
    """
    return extend(optimizer, _Multiplied, _multiplier_of=multiplier_of)


class _Multiplied(Extension):
    _multiplier_of: Callable[[Any], float]

    def build(self, variables: Sequence[Any]) -> None:
        """Asks for the multipliers, then builds."""
        multipliers = {}
        for variable in variables:
            multiplier = float(self._multiplier_of(variable))
            if not multiplier >= 0:
                raise ConfigError(
                    "multiplier_of",
                    got=f"{multiplier} for {variable.path}",
                    expected="a number that is not negative",
                    fix="change the function",
                )
            multipliers[self._key(variable)] = multiplier
        # Past Keras's tracking of attributes: this is no state.
        self.__dict__["_multipliers"] = multipliers
        super().build(variables)  # type: ignore[misc]

    def _key(self, variable: Any) -> Any:
        optimizer: Any = self
        return optimizer._var_key(variable)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates a variable with its own learning rate."""
        multiplier = self.__dict__["_multipliers"][self._key(variable)]
        super().update_step(gradient, variable, learning_rate * multiplier)  # type: ignore[misc]

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        """Lets the variables of each multiplier decay together, as the optimizer does it."""
        groups: dict[float, list[Any]] = {}
        for variable in variables:
            multiplier = self.__dict__["_multipliers"][self._key(variable)]
            groups.setdefault(multiplier, []).append(variable)
        try:
            for multiplier, group in groups.items():
                self.__dict__["_decay_multiplier"] = multiplier
                super()._apply_weight_decay(group)  # type: ignore[misc]
        finally:
            self.__dict__["_decay_multiplier"] = 1.0

    def _get_current_learning_rate(self) -> Any:
        """Returns the learning rate; while variables decay, that of their group."""
        rate = super()._get_current_learning_rate()  # type: ignore[misc]
        multiplier = self.__dict__.get("_decay_multiplier", 1.0)
        return rate if multiplier == 1.0 else rate * multiplier
