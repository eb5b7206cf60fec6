"""Weight decay on selected variables, decoupled or through the gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from hvd_imgcls.optimizers.extending import Extension, extend, whole


def own_name(variable: Any) -> str:
    """Returns the name of a `keras.Variable` without the names of its layers."""
    return str(variable.name).rsplit("/", maxsplit=1)[-1]


def is_kernel(variable: Any) -> bool:
    """Returns whether a variable is a kernel: two or more dimensions, and named so by Keras.

    The rule of big_vision, `.*/kernel$`: excludes biases, normalisation, embeddings, class tokens
    and position embeddings of any shape. `depthwise_kernel` is included.

    Args:
        variable: A `keras.Variable`. Only its own name counts, not those of its layers.
    """
    return len(variable.shape) > 1 and own_name(variable).endswith("kernel")


def with_weight_decay_on(
    optimizer: Any,
    is_decayed: Callable[[Any], bool] = is_kernel,
    *,
    l2: float | Callable[[Any], float] = 0.0,
) -> Any:
    """Returns the optimizer with weight decay on selected variables only.

    Keras's `exclude_from_weight_decay(var_names=...)` matches a substring of the name; this calls
    a function for every variable.

    Args:
        optimizer: A Keras optimizer that is not built yet.
        is_decayed: Maps a variable to whether it decays.
        l2: Decay through the gradient: `l2 * weight` is added to it, after clipping. A number, or
            a function from a variable to a number. Do not combine with the optimizer's own,
            decoupled `weight_decay`.

    Raises:
        ConfigError: If the optimizer is already built.
    """
    return extend(optimizer, _ChosenWeightDecay, _is_decayed=is_decayed, _l2=l2)


class _ChosenWeightDecay(Extension):
    _is_decayed: Callable[[Any], bool]
    _l2: float | Callable[[Any], float]

    def build(self, variables: Sequence[Any]) -> None:
        """Excludes variables without decay, then builds."""
        optimizer: Any = self
        decayed = [one for one in variables if self._is_decayed(whole(one))]
        kept = {id(one) for one in decayed}
        optimizer.exclude_from_weight_decay(
            var_list=[one for one in variables if id(one) not in kept]
        )
        # Bypasses Keras's attribute tracking: this is not state.
        self.__dict__["_l2_rates"] = {
            optimizer._var_key(one): self._l2(whole(one)) if callable(self._l2) else self._l2
            for one in decayed
        }
        super().build(variables)  # type: ignore[misc]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Adds L2 decay to the gradient, if configured."""
        optimizer: Any = self
        rate = self.__dict__["_l2_rates"].get(optimizer._var_key(variable), 0.0)
        if rate:
            gradient = tf.convert_to_tensor(gradient) + rate * variable
        super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]
