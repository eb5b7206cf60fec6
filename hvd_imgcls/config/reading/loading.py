"""Converts a pipeline file and command-line overrides to a `RunConfig`, and back to YAML.

Precedence: defaults, then the file, then `--key.path value` on the command line.
There are no environment variables, includes or interpolation: a pipeline file is complete.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic
import yaml

from hvd_imgcls.config.reading import problems, strict_yaml, walk
from hvd_imgcls.config.reading.packaged import find_pipeline, pipeline_names
from hvd_imgcls.config.schema import RunConfig
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.files.outside import MAX_SETTINGS_BYTES, read_text

_COMMAND_LINE = "on the command line"
_MAX_INTEGER = 2**32
_ADAPTER = pydantic.TypeAdapter(RunConfig)

_DEFAULT_SECTIONS: dict[Any, Any] = {
    field.name: pydantic.TypeAdapter(type(field.default)).dump_python(field.default, mode="json")
    for field in dataclasses.fields(RunConfig)
    if field.name in ("model", "optimizer", "schedule", "train")
}
"""The sections of which a file can be without, where a part of them alone means nothing."""

# What runs did before these keys of `data` existed, where that is not their default.
_DATA_BEFORE = {"resize": "bilinear", "exif_orientation": "ignore"}


def load_config(
    path: str | Path, overrides: Sequence[str] = (), *, is_of_run: bool = False
) -> RunConfig:
    """Reads a pipeline file.

    Args:
        path: The YAML file, or the name of an installed pipeline.
        overrides: Command-line arguments that change it, such as
            `["--train.num_epochs", "2"]` or `["--train.num_epochs=2"]`.
        is_of_run: Whether it is the `config.yaml` of a run, which has all keys of its time: those
            that are missing get the values that describe what the run did.

    Raises:
        ConfigError: If the file or an override is invalid; reports all problems at once.
    """
    path = find_pipeline(path)
    try:
        text = read_text(path, MAX_SETTINGS_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            str(path),
            got=getattr(error, "strerror", None) or "bytes that are not UTF-8",
            expected="a readable pipeline file",
            fix=f"pass the path of a YAML file, or one of {', '.join(pipeline_names())}",
        ) from error
    return parse_config(text, overrides, origin=str(path), is_of_run=is_of_run)


def parse_config(
    text: str, overrides: Sequence[str] = (), *, origin: str, is_of_run: bool = False
) -> RunConfig:
    """Parses the text of a pipeline file. See `load_config`; `origin` names it in errors."""
    tree: Any = strict_yaml.read(text, origin=origin)
    if not isinstance(tree, dict):
        raise ConfigError(
            origin,
            got=type(tree).__name__ if tree is not None else "an empty file",
            expected="the sections of a pipeline (data, model, optimizer, ...)",
            fix="start from a file in pipelines/",
        )
    _require_plain(tree, origin)
    if is_of_run and isinstance(tree.get("data"), dict):
        tree["data"] = {**_DATA_BEFORE, **tree["data"]}
    tree = walk.expand_names(tree)
    changed: list[walk.Path] = []
    for path, value in parse_overrides(overrides):
        if len(path) > 1 and path[0] not in tree and path[0] in _DEFAULT_SECTIONS:
            # A key of a section that the file leaves out changes the default section.
            tree[path[0]] = copy.deepcopy(_DEFAULT_SECTIONS[path[0]])
        _set(tree, path, value)
        tree = walk.expand_names(tree)
        changed.append(path)
    return _validate(tree, changed, origin)


def split_overrides(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separates the overrides of a command line from its other arguments, in any order.

    An override is an option that contains a dot or is named like a section.
    >>> split_overrides(["--train.seed", "3", "x.yaml", "--json"])
    (['x.yaml', '--json'], ['--train.seed', '3'])
    """
    sections = walk.field_types(RunConfig)
    others: list[str] = []
    overrides: list[str] = []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        option, equals, _ = word.partition("=")
        if not option.startswith("--") or ("." not in option and option[2:] not in sections):
            others.append(word)
            continue
        overrides.append(word)
        if not equals and remaining and not remaining[0].startswith("--"):
            overrides.append(remaining.pop(0))
    return others, overrides


def parse_overrides(words: Sequence[str]) -> list[tuple[walk.Path, Any]]:
    """Returns path and value of every `--key.path value` or `--key.path=value`.

    Values are YAML: `1e-3` is a number, `[1, 2]` a list, `null` is None.

    Raises:
        ConfigError: If an argument is not an option, or an option has no value.
    """
    found: list[tuple[walk.Path, Any]] = []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        option, equals, value = word.partition("=")
        if not option.startswith("--") or not option.strip("-."):
            raise ConfigError(
                word,
                got=word,
                expected="--key.path value",
                fix="put two dashes before the key, and quotes around a value with spaces",
            )
        if not equals:
            if not remaining or remaining[0].startswith("--"):
                raise ConfigError(
                    option, got="nothing", expected="a value", fix=f"write {option} VALUE"
                )
            value = remaining.pop(0)
        pieces = tuple(
            int(piece) if piece.isascii() and piece.isdigit() else piece
            for piece in option[2:].split(".")
        )
        parsed = strict_yaml.read(value, origin=option)
        _require_plain(parsed, option)
        found.append((pieces, parsed))
    return found


def to_tree(config: RunConfig) -> dict[str, Any]:
    """Returns the whole configuration, including defaults, as plain nested values."""
    tree: dict[str, Any] = _ADAPTER.dump_python(config, mode="json")
    return tree


def to_yaml(config: RunConfig) -> str:
    """Returns the whole configuration as YAML that parses to an equal one."""
    text = yaml.dump(
        json.loads(json.dumps(to_tree(config))),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
    )
    return str(text)


def fingerprint(config: RunConfig) -> str:
    """Returns a hash of the configuration, 16 hexadecimal digits.

    `run_dir`, where the results are written, is not part of it.
    """
    tree = to_tree(config)
    del tree["run_dir"]
    canonical = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class _Dumper(yaml.SafeDumper):
    """Writes floats without rounding, such that every YAML parser reads them as numbers."""


def _represent_float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value)
    if "." not in text:
        # repr gives 1e-07; YAML 1.1 requires a decimal point in a number.
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    # Unless escaped inside quotes, Unicode line breaks are read back as spaces.
    style = '"' if any(mark in value for mark in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


# Quotes strings that would be read as numbers, such as 0E0.
strict_yaml.add_scalars(_Dumper)
_Dumper.add_representer(float, _represent_float)
_Dumper.add_representer(str, _represent_text)


def _require_plain(tree: Any, origin: str) -> None:
    """Rejects values that JSON cannot represent: recursive aliases, sets, dates, binary."""
    try:
        json.dumps(tree)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            origin,
            got=str(error),
            expected="mappings, lists, strings and numbers",
            fix="write the values as plain YAML",
        ) from error


def _require_possible_numbers(tree: Any, origin: str, path: walk.Path = ()) -> None:
    """Rejects integers whose products, such as epochs times steps, would not fit into 64 bits."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        if isinstance(value, dict | list):
            _require_possible_numbers(value, origin, (*path, key))
        elif isinstance(value, int) and abs(value) > _MAX_INTEGER:
            raise ConfigError(
                walk.dotted((*path, key)),
                got=problems.shown(value),
                expected=f"a number of at most {_MAX_INTEGER:,}",
                fix=f"correct it (in {origin} or on the command line)",
            )


def _set(tree: dict[str, Any], path: walk.Path, value: Any) -> None:
    """Sets a value at a path, creating the mappings along it."""
    place: Any = tree
    for depth, piece in enumerate(path):
        is_last = depth == len(path) - 1
        if isinstance(place, list) and isinstance(piece, int) and piece < len(place):
            if is_last:
                place[piece] = value
            place = place[piece]
        elif isinstance(place, dict):
            if is_last:
                place[str(piece)] = value
            elif place.get(str(piece)) is None:
                place[str(piece)] = {}
            place = place[str(piece)]
        else:
            parent = walk.dotted(path[:depth])
            size = f"a list of {len(place)}" if isinstance(place, list) else f"{place!r}"
            raise ConfigError(
                "--" + walk.dotted(path),
                got=f"the key {piece!r} below {parent}, which is {size}",
                expected=f"a key of {parent}",
                fix=f"count list items from 0, or set all of --{parent} as YAML",
            )


def _validate(tree: dict[str, Any], changed: Sequence[walk.Path], origin: str) -> RunConfig:
    """Returns the configuration for a tree of plain values, or raises all problems at once."""

    def place_of(path: walk.Path) -> str:
        words = tuple(str(piece) for piece in path)
        for one in changed:
            length = min(len(one), len(words))
            if words[:length] == tuple(str(piece) for piece in one[:length]):
                return _COMMAND_LINE
        return f"in {origin}"

    _require_possible_numbers(tree, origin)
    unknown = list(walk.unknown_keys(tree))
    found = [
        problems.unknown_key(path, value, known, place_of(path))
        for path, value, known in unknown[: problems.MAX_LISTED]
    ]
    try:
        # Through JSON, because in strict mode only JSON input may turn into sections and tuples.
        config = _ADAPTER.validate_json(json.dumps(tree))
    except pydantic.ValidationError as error:
        for details in error.errors(include_url=False):
            if details["type"] != "unexpected_keyword_argument":
                found.append(problems.from_pydantic(details, place_of))
    if found:
        raise problems.ConfigProblemsError(
            origin, found, num_others=max(0, len(unknown) - problems.MAX_LISTED)
        )
    return config
