"""A moving average of the weights.

The averages are variables of the optimizer, as with Keras's `use_ema`, named after their
weights, so they are saved, compared and broadcast with the state of the optimizer. Every rank
makes the same updates, so they are the same on all ranks without communication.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.optimizers.extending import Extension, extend


def with_averaged_weights(optimizer: Any, decay: float, *, warms_up: bool = False) -> Any:
    """Returns the optimizer with a moving average of the trainable weights.

    `average = decay * average + (1 - decay) * weight` after every update; the first update sets
    it to the weight (after Polyak and Juditsky 1992). The update rule is that of Keras's `use_ema`,
    but `fit` does not replace the weights with the averages at its end: call `take_averages`.

    Args:
        optimizer: A Keras optimizer that is not built yet.
        decay: In (0, 1).
        warms_up: Whether the decay of update t (from 0) is `min(decay, (1 + t) / (10 + t))`, the
            rule of `tf.train.ExponentialMovingAverage(num_updates=t)`.

    Raises:
        ConfigError: If the optimizer is already built.
    """
    extended = extend(optimizer, _Averaged, _warms_up=warms_up)
    extended.use_ema = True
    extended.ema_momentum = decay
    extended.ema_overwrite_frequency = None
    return extended


def take_averages(model: keras.Model) -> None:
    """Replaces a model's trainable weights with their averages.

    Other weights, such as the moving statistics of batch normalisation, are unchanged.

    Collective with `shard_optimizer_state`: every rank must call this.

    Args:
        model: A model that was trained with `with_averaged_weights`.

    Raises:
        ConfigError: If its optimizer has no averages, or has not been updated yet.
    """
    optimizer = model.optimizer
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if not (optimizer is not None and optimizer.use_ema and optimizer.built):
        raise ConfigError(
            "model.optimizer",
            got="an optimizer without averages",
            expected="one with averaged weights",
            fix="create it with with_averaged_weights and train",
        )
    pairs = zip(
        optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True
    )
    for weight, average in pairs:
        if average is not None:
            weight.assign(average)
    share = getattr(optimizer, "share_parts", None)
    if share is not None:
        share()


class _Averaged(Extension):
    _warms_up: bool

    def _update_model_variables_moving_average(self, trainable_variables: Sequence[Any]) -> None:
        if not self._warms_up:
            super()._update_model_variables_moving_average(  # type: ignore[misc]
                trainable_variables
            )
            return
        optimizer: Any = self
        finished = tf.cast(tf.convert_to_tensor(optimizer.iterations), tf.float32)
        decay = tf.minimum(optimizer.ema_momentum, (1.0 + finished) / (10.0 + finished))
        decay = tf.where(finished > 0, decay, 0.0)
        averages = optimizer._model_variables_moving_average
        for weight, average in zip(trainable_variables, averages, strict=True):
            if average is not None:
                kept = tf.cast(decay, average.dtype)
                average.assign(kept * average + (1 - kept) * weight)

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Does nothing: the weights are unchanged until `take_averages`."""
