"""Images that cannot be read: what is known of them, and how many there may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hvd_imgcls.config.schema import Data
from hvd_imgcls.data.order.splits import Split
from hvd_imgcls.errors import BadImagesError
from hvd_imgcls.plan.arithmetic import max_bad_examples

MAX_NAMED = 20
"""Bad images that a message names; files hold all of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BadExample:
    """An image that was left out because it could not be read.

    Attributes:
        name: What errors call it: its file.
        split: Its split.
        example: Its number in the split.
        reason: Why it could not be read.
        epoch: The first epoch that needed it, from 1; None if it is held out.
        step: The first step of the run that needed it, from 1; None if it is held out.
        rank: The rank that needed it then.
    """

    name: str
    split: Split
    example: int
    reason: str
    epoch: int | None
    step: int | None
    rank: int

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON holds it."""
        return asdict(self)


def require_few(bad: Sequence[BadExample], data: Data, split: Split, num_examples: int) -> None:
    """Raises if more images of a split are bad than there may be.

    Args:
        bad: Those of all ranks, the same on every rank.
        data: Has the limits.
        split: The split.
        num_examples: Its examples.

    Raises:
        BadImagesError: Naming the number, the limit and the first of them.
    """
    limit = max_bad_examples(data.max_bad_examples, data.max_bad_fraction, num_examples)
    if len(bad) <= limit:
        return
    split_name = "training" if split == "train" else "held-out"
    raise BadImagesError(
        f"{len(bad):,} of {num_examples:,} {split_name} images cannot be read, more than the "
        f"{limit:,} allowed (data.max_bad_examples {data.max_bad_examples}, "
        f"data.max_bad_fraction {data.max_bad_fraction:g}):{in_lines(bad)}\n"
        "  to fix it: replace or remove them (`hvd-imgcls check-data` finds all), or allow more"
    )


def in_lines(bad: Sequence[BadExample]) -> str:
    """Returns the first of them, a line each, and how many more there are."""
    lines = [f"{one.name}: {one.reason}" for one in bad[:MAX_NAMED]]
    if len(bad) > MAX_NAMED:
        lines.append(f"and {len(bad) - MAX_NAMED:,} more")
    return "".join(f"\n  {line}" for line in lines)
