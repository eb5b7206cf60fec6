"""Momentum correction: rescales the momentum of SGD when the learning rate changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.optimizers.extending import Extension, extend


def with_momentum_correction(optimizer: Any) -> Any:
    """Returns an SGD optimizer whose momentum follows the schedule immediately.

    Keras's velocity is `v = momentum * v - rate * gradient`, so it contains earlier learning
    rates. Goyal et al. 2017 (arXiv:1706.02677, section 3, remark 2) multiply it by new / old
    rate; the update is then that of PyTorch, `u = momentum * u + gradient`, `w -= rate * u`;
    except that gradients of steps with rate 0 are lost, as they are without correction. The
    old rate is that of the schedule one update earlier, so restarts have no effect.
    `hvd_imgcls.keras.callbacks` do the same for learning rates set by callbacks.

    Args:
        optimizer: A `keras.optimizers.SGD` that is not built yet.
        optimizer: A `keras.optimizers.SGD` that is not built yet.

    Raises:
        ConfigError: If it is another optimizer, or already built.
    """
    if not isinstance(optimizer, keras.optimizers.SGD):
        raise ConfigError(
            "optimizer",
            got=type(optimizer).__name__,
            expected="keras.optimizers.SGD for momentum correction",
            fix="omit the correction: others do not store the learning rate in their state",
        )
    return extend(optimizer, _Corrected)


class _Corrected(Extension):
    def _backend_apply_gradients(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any]
    ) -> None:
        optimizer: Any = self
        schedule = optimizer._learning_rate
        if optimizer.momentum and isinstance(
            schedule, keras.optimizers.schedules.LearningRateSchedule
        ):
            finished = tf.convert_to_tensor(optimizer.iterations)
            new, old = schedule(finished), schedule(tf.maximum(finished - 1, 0))
            # After a rate of 0 there is nothing to rescale.
            factor = tf.where(old > 0, new / tf.where(old > 0, old, 1.0), 1.0)
            for velocity in optimizer.momentums:
                if velocity is not None:
                    optimizer.assign(velocity, velocity * tf.cast(factor, velocity.dtype))
        super()._backend_apply_gradients(grads, trainable_variables)  # type: ignore[misc]
