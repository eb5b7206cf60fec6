"""LARS, which Keras does not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls.optimizers.weight_decay import own_name


@keras.saving.register_keras_serializable("hvd_imgcls")
class Lars(keras.optimizers.SGD):
    """SGD with layer-wise adaptive step lengths, for large batches.

    You et al. 2017 (arXiv:1708.03888, section 4, equations 5 and 6, and algorithm 1). For a
    variable w with gradient g and weight decay b:

        trust = trust_coefficient * |w| / (|g| + b * |w| + epsilon)
        v = momentum * v - learning_rate * trust * (g + b * w)
        w = w + v

    Norms are L2, over the whole variable. Where |w| or the denominator is 0, trust is 1. Biases and
    normalisation, that is, variables with one dimension or a name ending in `bias`, have trust 1
    (Grill et al. 2020, arXiv:2006.07733, section 3.2, exclude them from both adaptation and
    decay). Variables named in `exclude_from_weight_decay` have b = 0.

    Args:
        learning_rate: A number or a schedule.
        momentum: In [0, 1].
        nesterov: Whether to use Nesterov momentum, as in `keras.optimizers.SGD`. Not in the
            paper.
        weight_decay: b, added to the gradient. None for no decay.
        trust_coefficient: eta in the paper.
        epsilon: Not in the paper.
        **keywords: Other arguments of `keras.optimizers.SGD`.
    """

    def __init__(
        self,
        learning_rate: Any = 1.0,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float | None = None,
        trust_coefficient: float = 0.001,
        epsilon: float = 0.0,
        **keywords: Any,
    ) -> None:
        super().__init__(
            learning_rate,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            **keywords,
        )
        self.trust_coefficient = trust_coefficient
        self.epsilon = epsilon

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the momentum, and determines which variables are adapted."""
        if self.built:
            return
        # Bypasses Keras's attribute tracking: this is not state.
        self.__dict__["_adapted"] = {
            self._var_key(variable)
            for variable in variables
            if len(variable.shape) > 1 and not own_name(variable).endswith("bias")
        }
        super().build(variables)

    def _apply_weight_decay(self, variables: Any) -> None:
        """Does nothing: here the decay is part of the gradient."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable."""
        gradient, weights = tf.convert_to_tensor(gradient), tf.convert_to_tensor(variable)
        gradient = tf.cast(gradient, weights.dtype)
        decay = self.weight_decay if self.weight_decay and self._use_weight_decay(variable) else 0.0
        update = gradient + decay * weights if decay else gradient
        if self._var_key(variable) in self.__dict__["_adapted"]:
            length = tf.norm(weights)
            divisor = tf.norm(gradient) + decay * length + self.epsilon
            is_usual = (length > 0) & (divisor > 0)
            trust = self.trust_coefficient * length / tf.where(is_usual, divisor, 1.0)
            update *= tf.where(is_usual, trust, 1.0)
        super().update_step(update, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        own = {"trust_coefficient": self.trust_coefficient, "epsilon": self.epsilon}
        return {**super().get_config(), **own}
