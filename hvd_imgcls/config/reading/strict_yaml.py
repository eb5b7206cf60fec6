"""Strict YAML parser: `1e-3` is a number, `no` is a string, duplicate keys are errors."""

from __future__ import annotations

import re
from typing import Any

import yaml

from hvd_imgcls.errors import ConfigError

# Enough for hand-written files with repeated sections, too few for nested aliases that
# expand to gigabytes.
MAX_ALIASES = 16
MAX_CHARACTERS = 1_000_000


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader with the number and boolean rules of YAML 1.2 and unique keys."""

    # PyYAML's own table follows YAML 1.1: `1e-3` is a string, `no` False, `1:30` 90.
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._num_aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event_of: Any = self  # PyYAML's own methods are untyped
            self._num_aliases += 1
            if self._num_aliases > MAX_ALIASES:
                self._refuse(event_of.peek_event(), f"more than {MAX_ALIASES} aliases")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _STRING_TAG:
                self._refuse(key_node, "a key that is not a plain string")
            line = key_node.start_mark.line + 1
            if key_node.value in lines:
                earlier = lines[key_node.value]
                self._refuse(key_node, f"duplicate key {key_node.value!r}, first on line {earlier}")
            lines[key_node.value] = line
        return super().construct_mapping(node, deep=deep)

    def _refuse(self, where: Any, what: str) -> None:
        raise yaml.MarkedYAMLError(problem=f"found {what}", problem_mark=where.start_mark)


_STRING_TAG = "tag:yaml.org,2002:str"
_SCALARS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+0123456789."),
    ),
)


def add_scalars(of: type[yaml.SafeLoader | yaml.SafeDumper]) -> None:
    """Makes a loader resolve words to numbers and booleans, or a dumper quote such words."""
    for tag, pattern, first in _SCALARS:
        of.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), first)


add_scalars(_StrictLoader)


def read(text: str, *, origin: str) -> Any:
    """Parses a YAML document.

    Args:
        text: One YAML document.
        origin: File or option that the text comes from, for errors.

    Raises:
        ConfigError: If it is not valid YAML, contains a duplicate key or more than
            `MAX_ALIASES` aliases, or is too long or too deeply nested for a configuration.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(
            origin,
            got=f"{len(text)} characters",
            expected=f"at most {MAX_CHARACTERS}",
            fix="pass a pipeline file, not a data file",
        )
    try:
        return _StrictLoader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = origin if mark is None else f"{origin}, line {mark.line + 1}"
        raise ConfigError(
            place,
            got=error.problem or "something else",
            expected="a YAML document",
            fix="correct that line",
        ) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = "nesting too deep" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(
            origin, got=reason, expected="a YAML document", fix="correct the text"
        ) from error
