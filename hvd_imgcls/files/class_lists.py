"""Lists of class names: reading them from files, and comparing them by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hvd_imgcls.errors import ConfigError, DataError
from hvd_imgcls.files.json_files import read_json
from hvd_imgcls.files.outside import MAX_NAMES_BYTES
from hvd_imgcls.files.text_files import read_lines

MAX_CLASSES = 100_000
"""Most classes: five times those of ImageNet-21k. The metrics of each class take memory, and
labels that are something else, such as numbers of persons, would be classes of one image."""

_MAX_LISTED = 20


def require_possible_number(number: int, where: str) -> None:
    """Raises an error for more classes than can be evaluated.

    Args:
        number: Number of classes.
        where: What the labels are from, for the message.

    Raises:
        DataError: If there are more than `MAX_CLASSES`.
    """
    if number > MAX_CLASSES:
        raise DataError(
            f"{where}: {number:,} classes, expected at most {MAX_CLASSES:,}; check that the "
            "labels are those of classes, numbered from 0"
        )


def read_class_list(key: str, path: Path) -> tuple[str, ...]:
    """Reads a class list: a text file with one name per line, or a JSON list of names.

    Spaces around the names in a text file and empty lines are ignored.

    Args:
        key: The option or configuration key that names the file, for error messages.
        path: The file; JSON if its suffix is `.json`.

    Raises:
        ConfigError: If the file cannot be read, has no names, or has one twice.
    """
    if path.suffix.lower() == ".json":
        names = _read_json(key, path)
    else:
        lines = read_lines(key, path, "the name of a class")
        names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise ConfigError(
            key, got=f"{path}, which is empty", expected="one class name per line", fix="add them"
        )
    twice = repeated(names)
    if twice is not None:
        raise ConfigError(
            key,
            got=f"{path} with {twice!r} in lines {_places(names, twice)}",
            expected="every class once",
            fix="remove or rename one of them",
        )
    return tuple(names)


def repeated(names: Sequence[str]) -> str | None:
    """Returns the first name that a list contains twice, None if there is none."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def misplaced(names: Sequence[str], others: Sequence[str]) -> str | None:
    """Returns a name that both lists contain, at different places; None if there is none.

    Lists that differ otherwise may hold other names of the same classes; such lists cannot.
    """
    place_of = {name: place for place, name in enumerate(names)}
    wrong = (name for place, name in enumerate(others) if place_of.get(name, place) != place)
    return next(wrong, None)


def listed(names: Sequence[str]) -> str:
    """Returns a list of names as text, the first 20 of them."""
    shown = ", ".join(_quoted(name) for name in names[:_MAX_LISTED])
    more = len(names) - _MAX_LISTED
    return f"{shown} and {more:,} more" if more > 0 else shown


def _quoted(name: str) -> str:
    is_plain = name.isprintable() and name == name.strip() and "," not in name and name != ""
    return name if is_plain else repr(name)


def _places(names: Sequence[str], name: str) -> str:
    first, second = [place for place, one in enumerate(names, start=1) if one == name][:2]
    return f"{first} and {second}"


def _read_json(key: str, path: Path) -> list[str]:
    try:
        names = read_json(path.expanduser(), MAX_NAMES_BYTES)
    except (OSError, ValueError) as error:
        raise _not_names(key, f"{path} ({error})") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _not_names(key, str(path))
    return names


def _not_names(key: str, got: str) -> ConfigError:
    return ConfigError(key, got=got, expected="a JSON list of class names", fix="correct it")
