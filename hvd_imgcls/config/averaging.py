"""Averages of the weights along the training."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, OpenFraction, PositiveInt


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


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Lookahead:
    """Slow weights that follow the fast ones and pull them back (arXiv:1907.08610).

    After every `every_steps` steps: `slow = slow_fraction * slow + (1 - slow_fraction) * weight`,
    and the weight becomes the slow one.
    """

    every_steps: PositiveInt = 5
    """Steps of the fast weights between two steps of the slow ones. The paper's default."""

    slow_fraction: OpenFraction = 0.5
    """Part of the slow weights that is kept: 1 - alpha of the paper, whose default this is."""

    rises: bool = False
    """Whether `slow_fraction` is reached at the end only, rising with the third power of the steps.

    Jordan 2024 (arXiv:2404.00498, section 3.4), with `slow_fraction` 0.77.
    """
