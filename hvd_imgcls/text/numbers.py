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


def bytes_text(number: float) -> str:
    """Formats a number of bytes with three digits.

    >>> bytes_text(999), bytes_text(1234), bytes_text(25.3e9), bytes_text(0)
    ('999 B', '1.23 kB', '25.3 GB', '0 B')
    """
    value = number
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.0f} PB"
