"""What was measured of several ways to reduce gradients, in words and numbers."""

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
        seconds: What the reduction adds to a step, for none and for every candidate.
        step_seconds: A whole step without compression; NaN if unknown.
    """

    seconds: tuple[float, ...]
    step_seconds: float

    @classmethod
    def of(cls, times: np.ndarray, num_ways: int) -> Measured:
        """Returns the medians of measurements in turn, without the first of every way.

        Args:
            times: `[turns, 2]`, seconds: of the reduction, and of the step; 0 if unknown.
            num_ways: Number of ways; turn i was of way `i % num_ways`.
        """
        reductions, steps = np.moveaxis(times.reshape(-1, num_ways, 2)[1:], -1, 0)
        known = steps[:, 0][steps[:, 0] > 0.0]
        return cls(
            seconds=tuple(np.median(reductions, axis=0).tolist()),
            step_seconds=float(np.median(known)) if known.size else float("nan"),
        )

    def explain(
        self, names: Sequence[str], num_bytes: Sequence[int], choice: int, min_gain: float
    ) -> str:
        """Returns what was chosen and why, for the log.

        Args:
            names: Names of the ways; the first is that of none.
            num_bytes: Bytes that a rank sends for a reduction, for every way.
            choice: Number of the way that was chosen.
            min_gain: Fraction of a step that it had to save.
        """
        step = f"a step of {_time(self.step_seconds)}"
        if choice:
            saved = self.seconds[0] - self.seconds[choice]
            reason = f", which shortens {step} by {_time(saved)}"
        else:
            reason = f": no other shortens {step} by {100 * min_gain:g} %"
        ways = zip(names, self.seconds, num_bytes, strict=True)
        listed = "; ".join(
            f"{name} {_time(seconds)}, {bytes_text(size)}" for name, seconds, size in ways
        )
        return f"compression {names[choice]}{reason} (a reduction with {listed})"


def _time(seconds: float) -> str:
    if math.isnan(seconds):
        return "unknown length"
    return f"{seconds:.3g} s" if seconds >= 0.9995 else f"{1e3 * seconds:.3g} ms"
