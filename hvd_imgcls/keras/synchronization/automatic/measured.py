"""What was measured of several ways to reduce gradients, in numbers and words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from hvd_imgcls.text.numbers import bytes_text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """Times of the ways, equal on all ranks.

    Attributes:
        seconds: What the reduction adds to a step, for every way.
        steps: Whole steps, up to the end of the reduction; NaN if unknown.
    """

    seconds: tuple[float, ...]
    steps: tuple[float, ...]

    @property
    def step_seconds(self) -> float:
        """A whole step of the first way, to which others are compared."""
        return self.steps[0]

    @classmethod
    def of(cls, times: np.ndarray, num_ways: int) -> Measured:
        """Returns the medians of measurements in turn, without the first of every way.

        Args:
            times: `[turns, 2]`, seconds: of the reduction, and of the step; 0 if unknown.
            num_ways: Number of ways; turn i was of way `i % num_ways`.
        """
        reductions, steps = np.moveaxis(times.reshape(-1, num_ways, 2)[1:], -1, 0)
        known = [column[column > 0.0] for column in steps.T]
        return cls(
            seconds=tuple(np.median(reductions, axis=0).tolist()),
            steps=tuple(float(np.median(one)) if one.size else math.nan for one in known),
        )


def reason_for_compression(
    measured: Measured,
    names: Sequence[str],
    num_bytes: Sequence[int],
    choice: int,
    min_gain: float,
) -> str:
    """Returns which compression was chosen and why, for the log.

    Args:
        measured: The times.
        names: Names of the ways; the first is that of none.
        num_bytes: Bytes that a rank sends for a reduction, for every way.
        choice: Number of the way that was chosen.
        min_gain: Fraction of a step that it had to save.
    """
    step = f"a step of {_time(measured.step_seconds)}"
    if choice:
        saved = measured.seconds[0] - measured.seconds[choice]
        reason = f", which shortens {step} by {_time(saved)}"
    else:
        reason = f": no other shortens {step} by {100 * min_gain:g} %"
    ways = zip(names, measured.seconds, num_bytes, strict=True)
    listed = "; ".join(
        f"{name} {_time(seconds)}, {bytes_text(size)}" for name, seconds, size in ways
    )
    return f"compression {names[choice]}{reason} (a reduction with {listed})"


def reason_for_groups(measured: Measured, names: Sequence[str], choice: int) -> str:
    """Returns in how many groups gradients are sent and why, for the log.

    Args:
        measured: The times.
        names: Names of the ways.
        choice: Number of the way that was chosen.
    """
    ways = zip(names, measured.steps, strict=True)
    listed = "; ".join(f"{name} {_time(seconds)}" for name, seconds in ways)
    return f"groups of gradients {names[choice]} (a step with {listed})"


def _time(seconds: float) -> str:
    if math.isnan(seconds):
        return "unknown length"
    return f"{seconds:.3g} s" if seconds >= 0.9995 else f"{1e3 * seconds:.3g} ms"
