"""The keys of a pipeline file as text for the terminal."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

from hvd_imgcls.config.reading import walk
from hvd_imgcls.config.reference import default_of, docstrings_of, kind_of, sections_at
from hvd_imgcls.config.schema import RunConfig

WIDTH = 100


def section_names() -> list[str]:
    """Returns the keys at the top of a pipeline file."""
    return list(walk.field_types(RunConfig))


def overview() -> Iterator[str]:
    """Yields one line per key at the top of a pipeline file."""
    meanings = docstrings_of(RunConfig)
    width = max(map(len, meanings))
    for name in section_names():
        yield f"{name:{width}}  {meanings[name].split('. ')[0].rstrip('.')}."


def key_help(name: str) -> Iterator[str]:
    """Yields the lines on a key at the top of a pipeline file and all keys below it.

    Args:
        name: One of `section_names()`.
    """
    annotation = walk.field_types(RunConfig)[name]
    yield from _wrapped(f"{name}: {docstrings_of(RunConfig)[name]}", "")
    yield from _below(name, annotation, "  ")


def _below(path: str, annotation: Any, indent: str) -> Iterator[str]:
    below = f"{path}.N" if walk.element_of(annotation) is not None else path
    for section in sections_at(annotation):
        names = walk.names_of(section)
        inner = indent
        if names:
            yield ""
            yield f"{indent}{below}.name: {' or '.join(names)}"
            yield from _wrapped(str(inspect.getdoc(section)), f"{indent}  ")
            inner = f"{indent}  "
        yield from _keys(below, section, inner)


def _keys(path: str, section: type, indent: str) -> Iterator[str]:
    meanings, types = docstrings_of(section), walk.field_types(section)
    for field in dataclasses.fields(section):
        if field.name == "name" and walk.names_of(section):
            continue
        if sections_at(types[field.name]):
            yield from _wrapped(f"{path}.{field.name}: {meanings[field.name]}", indent)
            yield from _below(f"{path}.{field.name}", types[field.name], f"{indent}  ")
            continue
        kind = kind_of(types[field.name]).replace("`", "")
        default = default_of(field).strip("`")
        shown = default if default == "required" else f"default {default}"
        yield from _wrapped(f"--{path}.{field.name} ({kind}; {shown})", indent)
        yield from _wrapped(meanings[field.name], f"{indent}    ")


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()), WIDTH, initial_indent=indent, subsequent_indent=indent
    )
