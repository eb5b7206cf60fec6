"""Matches the classes of images with those of a model, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from hvd_imgcls.errors import ConfigError, DataError
from hvd_imgcls.files.class_lists import listed

OPTION = "--class-map"


def match_classes(
    names: Sequence[str],
    of_model: Sequence[str],
    pairs: Sequence[str] = (),
    *,
    counts: Sequence[int],
) -> list[int]:
    """Returns the model's class for every class of the images, -1 for those without images.

    Args:
        names: Classes of the images.
        of_model: Classes of the model.
        pairs: `OLD=NEW` for classes that are called OLD in the model and NEW in the images.
        counts: Number of images to evaluate of every class in `names`.

    Returns:
        Indices into `of_model`, `[len(names)]`.

    Raises:
        ConfigError: If a pair names an unknown class.
        DataError: If a class with images is not one of the model.
    """
    renamed = read_class_map(pairs, names, of_model)
    place_of = {name: place for place, name in enumerate(of_model)}
    matched = [place_of.get(renamed.get(name, name), -1) for name in names]
    unknown = [
        name
        for name, place, count in zip(names, matched, counts, strict=True)
        if place < 0 and count
    ]
    if unknown:
        raise DataError(_describe(unknown, names, of_model, matched))
    return [place if count else -1 for place, count in zip(matched, counts, strict=True)]


def read_class_map(
    pairs: Sequence[str], names: Sequence[str], of_model: Sequence[str]
) -> Mapping[str, str]:
    """Returns the model's name for every renamed class of the images.

    Several classes of the images may belong to one class of the model.

    Args:
        pairs: `OLD=NEW`: the model's name, and that of the images. The other order is understood
            if only that is possible.
        names: Classes of the images.
        of_model: Classes of the model.

    Raises:
        ConfigError: If a pair names an unknown class, or a class of the images is in two.
    """
    renamed: dict[str, str] = {}
    for pair in pairs:
        old, new = _read_pair(pair, names, of_model)
        if renamed.setdefault(new, old) != old:
            raise ConfigError(
                OPTION,
                got=f"{new!r} for both {renamed[new]!r} and {old!r}",
                expected="one class of the model for every class of the images",
                fix="remove one of them",
            )
    return renamed


def _read_pair(pair: str, names: Sequence[str], of_model: Sequence[str]) -> tuple[str, str]:
    """Returns the model's name of a class and that of the images."""
    # Names may contain the sign.
    ends = [place for place, sign in enumerate(pair) if sign == "="]
    halves = [(pair[:end], pair[end + 1 :]) for end in ends]
    for old, new in (*halves, *((new, old) for old, new in halves)):
        if old in of_model and new in names:
            return old, new
    raise ConfigError(
        OPTION,
        got=pair,
        expected=f"OLD=NEW, with a class of the model ({listed(of_model)}) and one of the images "
        f"({listed(names)})",
        fix="correct the names",
    )


def _describe(
    unknown: Sequence[str], names: Sequence[str], of_model: Sequence[str], matched: Sequence[int]
) -> str:
    free = [name for place, name in enumerate(of_model) if place not in set(matched)]
    folded = {name.casefold(): name for name in free}
    close = get_close_matches(unknown[0].casefold(), folded, n=1, cutoff=0.0)
    old = folded[close[0]] if close else of_model[0]
    return (
        "the images have classes that the model does not know:\n"
        f"  model ({len(of_model):,}): {listed(of_model)}\n"
        f"  images ({len(names):,}): {listed(names)}\n"
        f"  unknown to the model: {listed(unknown)}\n"
        f"  to fix it: rename or remove them, or add {OPTION} OLD=NEW for each that the model "
        f"calls OLD, such as {OPTION} '{old}={unknown[0]}'"
    )
