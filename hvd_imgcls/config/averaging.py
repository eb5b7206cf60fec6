"""Averaging of the weights during training."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, OpenFraction, PositiveInt


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Ema:
    """An exponential moving average of the trainable weights, updated after every step.

    Non-trainable weights, such as the moving statistics of batch normalisation, are copied:
    they are moving averages themselves.
    """

    decay: OpenFraction = 0.9999
    """Decay of the average per step, which then covers about `1 / (1 - decay)` steps."""

    warms_up: bool = True
    """Whether the decay starts lower: `min(decay, (1 + step) / (10 + step))`.

    The rule of `tf.train.ExponentialMovingAverage(num_updates=...)`. Without it, the weights of
    the first steps dominate the average of a short run.
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Lookahead:
    """Slow weights that follow the fast weights, which are periodically reset to them.

    Zhang et al. 2019 (arXiv:1907.08610). After every `every_steps` steps: `slow = slow_fraction *
    slow + (1 - slow_fraction) * weight`, and the weight is set to the slow weight.
    """

    every_steps: PositiveInt = 5
    """Fast steps between two slow updates. The default is the paper's."""

    slow_fraction: OpenFraction = 0.5
    """Fraction of the slow weights that is kept: 1 - alpha in the paper, whose default it is."""

    rises: bool = False
    """Whether `slow_fraction` grows with the cube of the step and is reached at the last step.

    Jordan 2024 (arXiv:2404.00498, section 3.4), with `slow_fraction` 0.77.
    """
