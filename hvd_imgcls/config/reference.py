"""The reference of all keys, made from the schema: `python -m hvd_imgcls.config.reference`.

docs/configuration.md is its output; a test compares the two.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import sys
import typing
from collections.abc import Iterator
from typing import Any

from hvd_imgcls.config.reading import walk
from hvd_imgcls.config.schema import RunConfig

_INTRODUCTION = """\
# Configuration

<!-- Made by `python -m hvd_imgcls.config.reference > docs/configuration.md`. -->

A pipeline file is YAML and says everything about a run but the number of ranks: the only
batch size in it is the global one, and what depends on the ranks is derived
(`hvd-imgcls plan PIPELINE --size N` shows how). Precedence: the defaults below, then the
file, then the command line, where every key is an option and its value is YAML:

    hvd-imgcls train pipelines/digits_cnn.yaml --train.num_epochs 2 --augment.0.padding 2
    hvd-imgcls train pipelines/digits_cnn.yaml --optimizer '{name: adam}'

Numbers are read as in YAML 1.2: `1e-3` is a number, and `no` is a word. A key that does not
exist, a key that comes twice, a value of another type or out of range is an error that names
the key and the file; all errors of a file are told together. The whole configuration,
defaults included, is written to `config.yaml` in the run directory and is itself a
pipeline file.
"""


def reference() -> str:
    """Returns the reference as Markdown."""
    parts = [_INTRODUCTION]
    top_level = [
        (name, annotation)
        for name, annotation in walk.field_types(RunConfig).items()
        if not _sections(annotation)
    ]
    for name, annotation in walk.field_types(RunConfig).items():
        if (name, annotation) not in top_level:
            parts.extend(_chapter(name, annotation, _docstrings(RunConfig)[name]))
    parts.append("## Other keys\n")
    parts.append(_table("", RunConfig, [name for name, _ in top_level]))
    return "\n".join(parts)


def _chapter(path: str, annotation: Any, meaning: str, level: int = 2) -> Iterator[str]:
    """Yields the text on a key that holds sections."""
    is_list = walk.element_of(annotation) is not None
    yield f"{'#' * level} `{path}`\n"
    yield f"{meaning}\n"
    for section in _sections(annotation):
        names = walk.names_of(section)
        below = f"{path}.N" if is_list else path
        if names:
            yield f"**`name: {'`, `'.join(names)}`**: {inspect.getdoc(section)}\n"
        types = walk.field_types(section)
        plain = [key for key in types if not _sections(types[key])]
        if plain:
            yield _table(f"{below}.", section, plain)
        for key in types:
            if key not in plain:
                meaning_below = _docstrings(section)[key]
                yield from _chapter(f"{below}.{key}", types[key], meaning_below, level + 1)


def _sections(annotation: Any) -> tuple[type, ...]:
    return walk.sections_of(walk.element_of(annotation) or annotation)


def _table(prefix: str, section: type, keys: list[str]) -> str:
    """Returns a table with a row per key."""
    types, docstrings = walk.field_types(section), _docstrings(section)
    defaults = {field.name: field.default for field in dataclasses.fields(section)}
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key in keys:
        default = defaults[key]
        shown = "required" if default is dataclasses.MISSING else f"`{_yaml_word(default)}`"
        rows.append(f"| `{prefix}{key}` | {_kind(types[key])} | {shown} | {docstrings[key]} |")
    return "\n".join(rows) + "\n"


def _yaml_word(value: Any) -> str:
    """Returns a default as a pipeline file would have it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _kind(annotation: Any) -> str:
    """Returns what a value may be, in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        bounds = [str(bound) for field in arguments[1:] for bound in field.metadata]
        if bounds == ["MinLen(min_length=1)"]:
            return f"{_kind(arguments[0])}, not empty"
        return f"{_kind(arguments[0])} {_bounds(bounds)}".strip()
    if origin is typing.Literal:
        return " or ".join(f"`{choice}`" for choice in arguments)
    if origin is tuple:
        length = "" if arguments[-1] is Ellipsis else f" of {len(arguments)}"
        return f"list{length}: {_kind(arguments[0])}"
    if arguments:
        return " or ".join(_kind(argument) for argument in arguments)
    words = {int: "integer", float: "number", bool: "true or false", str: "text"}
    return words.get(annotation, "null")


def _bounds(bounds: list[str]) -> str:
    """Returns `Ge(ge=1)` as `>= 1`."""
    signs = {"Ge": ">=", "Gt": ">", "Le": "<=", "Lt": "<"}
    found = []
    for bound in bounds:
        kind, _, rest = bound.partition("(")
        found.append(f"{signs[kind]} {rest.partition('=')[2].rstrip(')')}")
    return ", ".join(found)


def _docstrings(section: type) -> dict[str, str]:
    """Returns the text below every field of a section, in one line."""
    module = ast.parse(inspect.getsource(sys.modules[section.__module__]))
    body = next(
        node.body
        for node in module.body
        if isinstance(node, ast.ClassDef) and node.name == section.__name__
    )
    found: dict[str, str] = {}
    for field, text in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found


if __name__ == "__main__":
    sys.stdout.write(reference())
