"""Exact metrics of a split: sums and counts until the last moment.

Counts are integers. Losses are kept per block, in float64, and every block is computed by
one rank alone: adding up the ranks' arrays adds zeros to them and rounds nothing. The final
sum over blocks is correctly rounded. So, given the same logits, the result has the same
digits on any number of ranks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hvd_imgcls.errors import BadImagesError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
# Name of the operation and an array in, the sum over ranks out.
SumArrays = Callable[[str, npt.NDArray[Any]], npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Tally:
    """What has been counted so far.

    Attributes:
        block_losses: Sum of the cross-entropies of every block, `[num_blocks]`.
        confusion: Examples by label and predicted class, `[num_classes, num_classes]`.
        times_seen: How often every example was counted, `[num_examples]`.
        times_unreadable: How often it was left out as unreadable, `[num_examples]`.
    """

    block_losses: Floats
    confusion: Integers
    times_seen: Integers
    times_unreadable: Integers

    @classmethod
    def empty(cls, *, num_blocks: int, num_classes: int, num_examples: int) -> Tally:
        """Returns a tally of nothing."""
        return cls(
            np.zeros(num_blocks, np.float64),
            np.zeros((num_classes, num_classes), np.int64),
            np.zeros(num_examples, np.int64),
            np.zeros(num_examples, np.int64),
        )

    def add(self, block: int, examples: Integers, labels: Integers, logits: Floats) -> None:
        """Counts one block.

        Args:
            block: Its number.
            examples: Example numbers, `[block_size]`; negative ones are padding.
            labels: `[block_size]`.
            logits: `[block_size, num_classes]`.
        """
        is_real = examples >= 0
        examples, labels, logits = examples[is_real], labels[is_real], logits[is_real]
        self.block_losses[block] = math.fsum(cross_entropies(labels, logits))
        np.add.at(self.confusion, (labels, logits.argmax(axis=-1)), 1)
        np.add.at(self.times_seen, examples, 1)

    def leave_out(self, examples: Integers) -> None:
        """Notes examples that could not be read, `[left_out]`."""
        np.add.at(self.times_unreadable, examples, 1)

    def summed_over_ranks(self, sum_arrays: SumArrays) -> Tally:
        """Returns the tally of all ranks. Collective: every rank must call this."""
        return Tally(
            sum_arrays("evaluation.block_losses", self.block_losses),
            sum_arrays("evaluation.confusion", self.confusion),
            sum_arrays("evaluation.times_seen", self.times_seen),
            sum_arrays("evaluation.times_unreadable", self.times_unreadable),
        )

    def result(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Returns the metrics as JSON holds them.

        The loss is None if it is not a finite number, the recall of a class without
        examples as well. Examples that could not be read have no part in anything but
        `num_unreadable`.

        Raises:
            RuntimeError: If an example was not counted exactly once: a bug in this package.
            BadImagesError: If none could be read.
        """
        times = self.times_seen + self.times_unreadable
        wrong = np.flatnonzero(times != 1)
        if len(wrong):
            raise RuntimeError(
                f"{len(wrong)} examples were not counted exactly once, the first is "
                f"{wrong[0]}, counted {times[wrong[0]]} times"
            )
        num_examples, num_correct = int(self.times_seen.sum()), int(np.trace(self.confusion))
        if not num_examples:
            raise BadImagesError(
                f"none of the {len(times):,} held-out images can be read; `hvd-imgcls check-data` "
                "says why"
            )
        # fsum cannot add infinities of both signs, and the answer would be none anyway.
        is_finite = bool(np.isfinite(self.block_losses).all())
        per_class = zip(class_names, self.confusion, strict=True)
        return {
            "num_examples": num_examples,
            "num_unreadable": int(self.times_unreadable.sum()),
            "loss": math.fsum(self.block_losses) / num_examples if is_finite else None,
            "top1": num_correct / num_examples,
            "num_correct": num_correct,
            "recall_per_class": {
                name: int(row[index]) / int(row.sum()) if row.any() else None
                for index, (name, row) in enumerate(per_class)
            },
            "class_names": list(class_names),
            "confusion_matrix": self.confusion.tolist(),
        }


def cross_entropies(labels: Integers, logits: Floats) -> Floats:
    """Returns the cross-entropy of every example, `[batch]`, in float64.

    Args:
        labels: `[batch]`.
        logits: `[batch, num_classes]`, any float type.
    """
    logits = logits.astype(np.float64)
    highest = logits.max(axis=-1, keepdims=True)
    # Of a diverged model: infinity minus infinity, which is not a number, as it should be.
    with np.errstate(invalid="ignore"):
        shifted = logits - highest
    log_sums = np.log(np.exp(shifted).sum(axis=-1))
    own: Floats = np.take_along_axis(shifted, labels[:, np.newaxis], axis=-1)[:, 0]
    losses: Floats = log_sums - own
    return losses
