"""Lookahead: slow weights that follow the fast weights, which are periodically reset to them.

The slow weights are variables of the optimizer, so they are saved, compared and broadcast with
its state. Every rank makes the same updates without communication.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from hvd_imgcls.config.averaging import Lookahead
from hvd_imgcls.optimizers.extending import Extension, extend


def with_lookahead(
    optimizer: Any, *, every_steps: int, slow_fraction: Callable[[tf.Tensor], tf.Tensor]
) -> Any:
    """Returns the optimizer with slow weights in addition to the weights that it updates.

    After every `every_steps` updates, `slow = fraction * slow + (1 - fraction) * weight`, and the
    weight is set to the slow weight (Zhang et al. 2019, arXiv:1907.08610; their alpha is
    1 - fraction). The slow weights are initialised to the weights.

    Args:
        optimizer: A Keras optimizer that is not built yet.
        every_steps: At least 1.
        slow_fraction: Maps the number of completed updates, scalar float32, to the fraction of
            the slow weights that is kept, in [0, 1].

    Raises:
        ConfigError: If the optimizer is already built.
    """
    return extend(optimizer, _Lookahead, _every_steps=every_steps, _slow_fraction=slow_fraction)


def rising_fraction(config: Lookahead, num_steps: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the fraction of the slow weights that is kept as a function of completed updates.

    With `rises`, it increases from 0 with the cube of the completed updates, as in Jordan 2024
    (arXiv:2404.00498, section 3.4).

    Args:
        config: The `train.lookahead` section.
        num_steps: Updates in the whole run.
    """

    def fraction(finished: tf.Tensor) -> tf.Tensor:
        if not config.rises:
            return tf.constant(config.slow_fraction, tf.float32)
        return config.slow_fraction * (finished / num_steps) ** 3

    return fraction


class _Lookahead(Extension):
    needs_whole_variables = "lookahead"

    _every_steps: int
    _slow_fraction: Callable[[tf.Tensor], tf.Tensor]

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the slow weights."""
        super().build(variables)  # type: ignore[misc]
        optimizer: Any = self
        slow = [
            optimizer.add_variable_from_reference(variable, name="slow", initializer="zeros")
            for variable in variables
        ]
        for weight, variable in zip(slow, variables, strict=True):
            weight.assign(variable)
        self.__dict__["_slow_weights"] = slow

    def save_own_variables(self, store: Any) -> None:
        """Saves the state of the plain optimizer, so that plain Keras can load the file."""
        for index, variable in enumerate(self._variables_of_keras()):
            store[str(index)] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Loads such a file; the slow weights are reset to the weights."""
        optimizer: Any = self
        for index, variable in enumerate(self._variables_of_keras()):
            variable.assign(store[str(index)])
        for slow, variable in zip(
            self.__dict__.get("_slow_weights", ()), optimizer._trainable_variables, strict=True
        ):
            slow.assign(variable)

    def _variables_of_keras(self) -> list[Any]:
        optimizer: Any = self
        slow = {id(variable) for variable in self.__dict__.get("_slow_weights", ())}
        return [variable for variable in optimizer.variables if id(variable) not in slow]

    def _backend_update_step(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any], learning_rate: Any
    ) -> None:
        """Updates the weights, then the slow weights.

        Keras averages the weights (`use_ema`) and increments its counter after this.
        """
        super()._backend_update_step(  # type: ignore[misc]
            grads, trainable_variables, learning_rate
        )
        optimizer: Any = self
        finished = tf.cast(tf.convert_to_tensor(optimizer.iterations), tf.int64) + 1
        # All of them, even those without a gradient in this step.
        pairs = list(
            zip(optimizer._trainable_variables, self.__dict__["_slow_weights"], strict=True)
        )

        def follow() -> tf.Tensor:
            kept = self._slow_fraction(tf.cast(finished, tf.float32))
            for variable, slow in pairs:
                fraction = tf.cast(kept, slow.dtype)
                moved = fraction * tf.convert_to_tensor(slow) + (
                    1 - fraction
                ) * tf.convert_to_tensor(variable)
                slow.assign(moved)
                variable.assign(moved)
            return tf.constant(True)

        tf.cond(finished % self._every_steps == 0, follow, lambda: tf.constant(False))
