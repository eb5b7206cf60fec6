"""Accepts arguments and options in any order, which `argparse` does not."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

END_OF_OPTIONS = "--"
_NEGATIVE_NUMBER = re.compile(r"-\d+$|-\d*\.\d+$")


def options_first(words: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """Returns the words of a command line with all options before all arguments.

    Words after `--` are arguments even if they begin with a dash. An option that takes any number
    of values takes those that follow it, except for words at the end that are needed as arguments.

    Args:
        words: The words after the name of the command.
        parser: The parser of the command, without subcommands.
    """
    actions = {string: action for action in parser._actions for string in action.option_strings}
    options: list[list[str]] = []
    arguments: list[str] = []
    # Options with any number of values, which may have taken arguments.
    greedy: list[list[str]] = []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        if word == END_OF_OPTIONS:
            arguments += remaining
            break
        if not _is_option(word):
            arguments.append(word)
            continue
        action = actions.get(word)
        taken = [word]
        if action is not None:
            taken += _values_of(action, remaining)
            if action.nargs == "+" and action.choices is None and len(taken) > 2:
                greedy.append(taken)
        options.append(taken)
    missing = _num_required(parser) - len(arguments)
    while missing > 0 and greedy:
        while missing > 0 and len(greedy[-1]) > 2:
            arguments.insert(0, greedy[-1].pop())
            missing -= 1
        greedy.pop()
    # A parser that takes no arguments refuses `--` itself.
    end = [END_OF_OPTIONS] if any(not action.option_strings for action in parser._actions) else []
    return [*(word for option in options for word in option), *end, *arguments]


def _values_of(action: argparse.Action, remaining: list[str]) -> list[str]:
    """Removes the values of an option from the words after it, and returns them."""
    if action.nargs == 0:
        return []
    most = 1 if action.nargs is None else len(remaining)
    values: list[str] = []
    while remaining and len(values) < most and not _is_option(remaining[0]):
        is_choice = action.choices is None or remaining[0] in action.choices
        if remaining[0] == END_OF_OPTIONS or (values and not is_choice):
            break
        values.append(remaining.pop(0))
    return values


def _is_option(word: str) -> bool:
    return len(word) > 1 and word[0] == "-" and not _NEGATIVE_NUMBER.match(word)


def _num_required(parser: argparse.ArgumentParser) -> int:
    """Returns how many arguments a command needs at least."""
    return sum(
        1
        for action in parser._actions
        if not action.option_strings and action.nargs not in ("*", "?")
    )
