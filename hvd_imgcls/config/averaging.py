"""The running average of the weights."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, OpenFraction


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Ema:
    """An exponential moving average of the trainable weights, updated after every step.

    Weights that are not trained, such as the statistics of batch normalisation, are taken as they
    are: they are running averages themselves.
    """

    decay: OpenFraction = 0.9999
    """Part of the average that is kept at a step: it covers some `1 / (1 - decay)` steps."""

    warms_up: bool = True
    """Whether the average forgets faster at first: decay `min(decay, (1 + step) / (10 + step))`.

    The rule of `tf.train.ExponentialMovingAverage(num_updates=...)`. Without it, the weights of
    the first steps stay in the average of a short run.
    """
