"""Per-variable learning rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.optimizers.extending import Extension, extend, whole


def with_learning_rate_multipliers(optimizer: Any, multiplier_of: Callable[[Any], float]) -> Any:
    """Returns the optimizer with per-variable learning rates.

    Works with every Keras optimizer, by changing the learning rate passed to the update of each
    variable. Decoupled weight decay, which is scaled by the learning rate, is multiplied as
    well; a variable with multiplier 0 thus never changes.

    Args:
        optimizer: A Keras optimizer that is not built yet.
        multiplier_of: Maps a variable to its learning-rate multiplier, at least 0.

    Raises:
        ConfigError: If the optimizer is already built; or, when it is built, if a multiplier is
            negative.
    """
    return extend(optimizer, _Multiplied, _multiplier_of=multiplier_of)


class _Multiplied(Extension):
    _multiplier_of: Callable[[Any], float]

    def build(self, variables: Sequence[Any]) -> None:
        """Computes the multipliers, then builds."""
        multipliers = {}
        for variable in variables:
            multiplier = float(self._multiplier_of(whole(variable)))
            if not multiplier >= 0:
                raise ConfigError(
                    "multiplier_of",
                    got=f"{multiplier} for {variable.path}",
                    expected="a non-negative number",
                    fix="change the function",
                )
            multipliers[self._key(variable)] = multiplier
        # Bypasses Keras's attribute tracking: this is not state.
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
        """Decays the variables of each multiplier together, as the optimizer does."""
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
        """Returns the learning rate; during weight decay, that of the current group."""
        rate = super()._get_current_learning_rate()  # type: ignore[misc]
        multiplier = self.__dict__.get("_decay_multiplier", 1.0)
        return rate if multiplier == 1.0 else rate * multiplier
