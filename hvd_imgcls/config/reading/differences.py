"""What is configured differently in several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_NOT_A_DIFFERENCE = {"run_dir"}


def differences(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Returns the keys whose values differ, in order, with the value of each configuration.

    Args:
        configs: Nested configurations. A key that one lacks has the value `-`.

    >>> differences([{"a": [{"b": 1}], "c": 2}, {"a": [{"b": 3}], "c": 2}])
    [('a.0.b', ['1', '3'])]
    """
    flat = [dict(_leaves(config)) for config in configs]
    keys = sorted(set().union(*flat) - _NOT_A_DIFFERENCE, key=_in_order_of_numbers)
    rows = [(key, [str(of_run.get(key, "-")) for of_run in flat]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def _leaves(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    items = dict(enumerate(value)) if isinstance(value, list) else value
    if not isinstance(items, Mapping):
        return [(prefix, value)]
    return [
        leaf
        for key, inner in items.items()
        for leaf in _leaves(inner, f"{prefix}.{key}" if prefix else str(key))
    ]


def _in_order_of_numbers(key: str) -> list[tuple[bool, int, str]]:
    """Returns the sort key of a configuration key: `augment.10` comes after `augment.9`."""
    return [
        (part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in key.split(".")
    ]
