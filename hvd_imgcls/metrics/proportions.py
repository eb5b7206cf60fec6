"""Wilson score intervals: confidence intervals of proportions, from two counts.

They do not shrink to a point at 0 or 1, as those of a bootstrap do.
"""

from __future__ import annotations

import math

LEVEL = 0.95
"""Level of all confidence intervals."""

# The 0.975 quantile of the standard normal distribution.
_QUANTILE = 1.959963984540054


def wilson_interval(part: int, whole: int) -> list[float] | None:
    """Returns lower and upper bound of the confidence interval of `part / whole`.

    With z the quantile of the normal distribution, `n = whole` and `p = part / whole`, the bounds
    are `(p + z**2 / 2n -+ z sqrt(p (1 - p) / n + z**2 / 4n**2)) / (1 + z**2 / n)` (Wilson 1927,
    doi:10.1080/01621459.1927.10502953; recommended by Brown, Cai and DasGupta 2001,
    doi:10.1214/ss/1009213286). It contains `p`; the bound is exactly 0 for no part, and exactly
    1 for the whole.

    Args:
        part: Number of examples with the property, at most `whole`.
        whole: Number of examples; None is returned for 0.

    >>> [round(bound, 4) for bound in wilson_interval(81, 263)]
    [0.2553, 0.3662]
    """
    if not whole:
        return None
    square = _QUANTILE**2
    # Both sides of the fraction multiplied by n, so that the centre is exact for large counts.
    centre = part + square / 2
    deviation = _QUANTILE * math.sqrt(part * (whole - part) / whole + square / 4)
    low = (centre - deviation) / (whole + square) if part else 0.0
    high = (centre + deviation) / (whole + square) if part < whole else 1.0
    return [max(0.0, low), min(1.0, high)]
