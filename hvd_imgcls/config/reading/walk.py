"""Looks up which keys the schema knows at a path, for error messages and the reference."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hvd_imgcls.config.schema import RunConfig

Path = tuple[str | int, ...]


def dotted(path: Sequence[str | int]) -> str:
    """Returns a path as users write it.

    >>> dotted(("augment", 0, "padding"))
    'augment.0.padding'
    """
    return ".".join(str(piece) for piece in path)


def field_types(section: type) -> dict[str, Any]:
    """Returns the annotation of every key of a section, including constraints."""
    return typing.get_type_hints(section, include_extras=True)


def sections_of(annotation: Any) -> tuple[type, ...]:
    """Returns the sections that a value of this annotation may be; none for plain values."""
    if dataclasses.is_dataclass(annotation):
        return (typing.cast(type, annotation),)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return sections_of(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        members = typing.get_args(annotation)
        return tuple(found for member in members for found in sections_of(member))
    return ()


def names_of(section: type) -> tuple[str, ...]:
    """Returns the values of `name` that select this section; empty if it has no `name`."""
    return tuple(map(str, typing.get_args(field_types(section).get("name"))))


def choose(sections: Sequence[type], value: Any) -> type | None:
    """Returns the section that a mapping from a file describes, or None if ambiguous."""
    if not isinstance(value, Mapping):
        return None
    if len(sections) == 1:
        return sections[0]
    named = [section for section in sections if value.get("name") in names_of(section)]
    return named[0] if named else None


def element_of(annotation: Any) -> Any:
    """Returns the element annotation of a variable-length list, or None for other values."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is tuple and arguments[-1] is Ellipsis:
        return arguments[0]
    return None


def expand_names(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a tree in which the name of a section alone stands for the section.

    >>> expand_names({"optimizer": "adamw"})
    {'optimizer': {'name': 'adamw'}}
    """
    expanded: dict[str, Any] = _expand(tree, RunConfig)
    return expanded


def _expand(value: Any, annotation: Any) -> Any:
    element = element_of(annotation)
    if element is not None and isinstance(value, list):
        return [_expand(item, element) for item in value]
    sections = sections_of(annotation)
    if isinstance(value, str) and any(value in names_of(section) for section in sections):
        return {"name": value}
    section = choose(sections, value)
    if section is None:
        return value
    types = field_types(section)
    return {key: _expand(child, types.get(key)) for key, child in value.items()}


def unknown_keys(tree: Mapping[str, Any]) -> Iterator[tuple[Path, Any, tuple[str, ...]]]:
    """Yields path, value and the keys known there for every unknown key."""
    yield from _unknown_below((), tree, RunConfig)


def _unknown_below(
    path: Path, value: Any, annotation: Any
) -> Iterator[tuple[Path, Any, tuple[str, ...]]]:
    element = element_of(annotation)
    if element is not None and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown_below((*path, index), item, element)
        return
    section = choose(sections_of(annotation), value)
    if section is None:
        return
    known = field_types(section)
    for key, child in value.items():
        if key in known:
            yield from _unknown_below((*path, key), child, known[key])
        else:
            yield (*path, key), child, tuple(known)


@functools.cache
def all_keys() -> tuple[Path, ...]:
    """Returns the paths of all keys, in the order of the schema, each once."""
    return tuple(dict.fromkeys(_keys_below((), RunConfig)))


def _keys_below(path: Path, section: type) -> Iterator[Path]:
    for name, annotation in field_types(section).items():
        element = element_of(annotation)
        below = sections_of(annotation if element is None else element)
        inside = (*path, name) if element is None or not below else (*path, name, 0)
        yield (*path, name)
        for one in below:
            yield from _keys_below(inside, one)


def without_union_tags(location: Sequence[str | int]) -> Path:
    """Removes the names of union members from a location that pydantic reports.

    For the key `optimizer.momentum`, pydantic reports `optimizer.sgd.momentum`.
    """
    path: list[str | int] = []
    candidates: tuple[type, ...] = (RunConfig,)
    element: Any = None
    for piece in location:
        if isinstance(piece, int) and element is not None:
            candidates, element = sections_of(element), None
            path.append(piece)
            continue
        tagged = [one for one in candidates if len(candidates) > 1 and piece in names_of(one)]
        if tagged:
            candidates = (tagged[0],)
            continue
        annotation = field_types(candidates[0]).get(str(piece)) if candidates else None
        candidates, element = sections_of(annotation), element_of(annotation)
        path.append(piece)
    return tuple(path)
