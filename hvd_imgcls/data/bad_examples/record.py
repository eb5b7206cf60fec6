"""Records of bad examples, and the limit on their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hvd_imgcls.config.schema import Data
from hvd_imgcls.data.order.splits import Split
from hvd_imgcls.errors import BadImagesError
from hvd_imgcls.plan.arithmetic import max_bad_examples

MAX_NAMED = 20
"""Maximum number of bad images listed in a message; files list all of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BadExample:
    """An image that was left out because it could not be decoded.

    Attributes:
        name: Its file name, for messages.
        split: Its split.
        example: Its number in the split.
        reason: Why it could not be decoded.
        epoch: The first epoch that needed it, from 1; None for held-out images.
        step: The first step of the run that needed it, from 1; None for held-out images.
        rank: The rank that needed it then.
        phase: The training that needed it: `training` or `pretraining`.
    """

    name: str
    split: Split
    example: int
    reason: str
    epoch: int | None
    step: int | None
    rank: int
    phase: str = "training"

    def to_json(self) -> dict[str, Any]:
        """Returns the record as a JSON object, without the phase if it is supervised training."""
        values = asdict(self)
        if self.phase == "training":
            del values["phase"]
        return values


def require_few(bad: Sequence[BadExample], data: Data, split: Split, num_examples: int) -> None:
    """Raises an error if more images of a split are bad than allowed.

    Args:
        bad: Bad examples of all ranks, the same on every rank.
        data: Defines the limits.
        split: The split.
        num_examples: Number of examples in it.

    Raises:
        BadImagesError: With the number, the limit and the first bad images.
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
    """Lists the first bad examples, one per line, and the number of remaining ones."""
    lines = [f"{one.name}: {one.reason}" for one in bad[:MAX_NAMED]]
    if len(bad) > MAX_NAMED:
        lines.append(f"and {len(bad) - MAX_NAMED:,} more")
    return "".join(f"\n  {line}" for line in lines)
