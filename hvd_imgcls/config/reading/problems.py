"""Reports all problems of a configuration at once, each with its dotted key and a fix."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import ErrorDetails

from hvd_imgcls.config.reading import walk
from hvd_imgcls.errors import ConfigError

MAX_LISTED = 20

# Names of keys in other libraries.
_CALLED_ELSEWHERE = {
    "lr": "schedule.base_learning_rate",
    "learning_rate": "schedule.base_learning_rate",
    "batch_size": "train.global_batch_size",
    "batch": "train.global_batch_size",
    "epochs": "train.num_epochs",
    "max_epochs": "train.num_epochs",
    "steps": "train.num_steps",
    "max_steps": "train.num_steps",
    "wd": "optimizer.weight_decay",
    "weight_decay": "optimizer.weight_decay",
    "label_smoothing": "loss.label_smoothing",
    "warmup": "schedule.warmup_epochs",
    "img_size": "data.image_size",
    "imgsz": "data.image_size",
    "input_size": "data.image_size",
    "data_dir": "data.source.path",
    "data_path": "data.source.path",
    "val_split": "data.source.held_out_fraction",
    "validation_split": "data.source.held_out_fraction",
    "output_dir": "run_dir",
    "save_dir": "run_dir",
    "amp": "train.precision",
    "fp16": "train.precision",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One invalid value.

    Attributes:
        key: Dotted key.
        got: The given value, as text.
        expected: What was expected, as a noun phrase.
        fix: What to do about it, as an imperative.
    """

    key: str
    got: str
    expected: str
    fix: str

    def __str__(self) -> str:
        return f"{self.key}: got {self.got}, expected {self.expected}; {self.fix}"


class ConfigProblemsError(ConfigError):
    """All problems of one configuration.

    Args:
        origin: File that the configuration comes from.
        problems: The problems, at least one, of which the first 20 are described.
        num_others: Number of further problems.
    """

    def __init__(self, origin: str, problems: Sequence[Problem], *, num_others: int = 0) -> None:
        self.origin = origin
        self.problems = tuple(problems)
        self.key = problems[0].key
        total = len(problems) + num_others
        heading = "1 problem" if total == 1 else f"{total:,} problems"
        lines = [f"{origin}: {heading}", *(f"  {one}" for one in problems[:MAX_LISTED])]
        if total > MAX_LISTED:
            lines.append(f"  and {total - MAX_LISTED:,} more")
        Exception.__init__(self, "\n".join(lines))


def suggestion(word: Any, candidates: Sequence[str]) -> str | None:
    """Returns the candidate closest to `word`, or None if none is close."""
    close = difflib.get_close_matches(str(word), candidates, n=1, cutoff=0.5)
    return close[0] if close else None


def other_key(word: Any) -> str | None:
    """Returns the key elsewhere that a word stands for, None if there is none.

    It is called so in other libraries, or is the name of exactly one key.
    """
    plain = str(word).replace("-", "_").lower()
    if plain in _CALLED_ELSEWHERE:
        return _CALLED_ELSEWHERE[plain]
    places = [path for path in walk.all_keys() if path[-1] == plain]
    return walk.dotted(places[0]) if len(places) == 1 else None


def shown(value: Any) -> str:
    """Formats a value for an error message: on one line, truncated if long."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def unknown_key(path: walk.Path, value: Any, known: Sequence[str], place: str) -> Problem:
    """Returns the problem for an unknown key."""
    # A name that is known elsewhere says more than one that is spelled alike.
    meant = other_key(path[-1])
    if meant in (None, walk.dotted(path)) and (close := suggestion(path[-1], known)):
        meant = walk.dotted((*path[:-1], close))
    fix = f"did you mean {meant!r}?" if meant not in (None, walk.dotted(path)) else "remove it"
    return Problem(
        key=walk.dotted(path),
        got=f"{shown(value)} for an unknown key",
        expected=f"one of {', '.join(known)}",
        fix=f"{fix} ({place})",
    )


def from_pydantic(details: ErrorDetails, place_of: Callable[[walk.Path], str]) -> Problem:
    """Converts an error of pydantic to a problem.

    Args:
        details: The error.
        place_of: Returns where the value at a path comes from, for the fix.
    """
    context: Mapping[str, Any] = details.get("ctx", {})
    kind = details["type"]
    path = walk.without_union_tags(details["loc"])
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        path = (*path, "name")
    key, place = walk.dotted(path), place_of(path)
    if kind in ("missing", "union_tag_not_found"):
        return Problem(key=key, got="nothing", expected="a value", fix=f"add it ({place})")
    if kind == "union_tag_invalid":
        wrong, expected = context["tag"], str(context["expected_tags"])
    elif kind == "literal_error":
        wrong, expected = details["input"], str(context["expected"])
    else:
        message = str(context.get("error", details["msg"])).removeprefix("Input should be ")
        expected = message[:1].lower() + message[1:]
        got = shown(details["input"])
        return Problem(key=key, got=got, expected=expected, fix=f"correct it ({place})")
    choices = re.findall(r"'([^']*)'", expected)
    meant = suggestion(wrong, choices)
    return Problem(
        key=key,
        got=shown(wrong),
        expected=f"one of {', '.join(choices)}",
        fix=f"did you mean {meant!r}? ({place})" if meant else f"choose one ({place})",
    )
