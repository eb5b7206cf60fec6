"""Formats numbers for people."""

from __future__ import annotations


def percent(share: float) -> str:
    """Formats a fraction as a percentage.

    >>> percent(0.1234), percent(0.0)
    ('12 %', '0 %')
    """
    return f"{share * 100:.0f} %"


def duration(seconds: float) -> str:
    """Formats a duration.

    >>> duration(3725)
    '1 h 2 min'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
