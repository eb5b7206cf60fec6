"""Collects the probabilities of this rank's examples, block by block."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.metrics.examples import (
    Examples,
    cross_entropies,
    examples_of,
    join,
    losses_of_probabilities,
    softmax,
)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MAX_BYTES_IN_MEMORY = 2**30
"""Above this size, the probabilities of a rank are stored in a file: 134,217,728 values."""


SUM_TOLERANCE = 1e-3
"""Tolerance of a sum of probabilities: float16 has steps of 5e-4 below 1."""


def require_distributions(probabilities: Floats) -> None:
    """Raises an error unless all finite rows `[rows, num_classes]` are non-negative and sum to 1.

    Raises:
        ConfigError: Naming the first wrong row.
    """
    with np.errstate(invalid="ignore"):
        sums = probabilities.sum(axis=-1, dtype=np.float64)
        least = probabilities.min(axis=-1)
        is_wrong = np.isfinite(sums) & ((np.abs(sums - 1) > SUM_TOLERANCE) | (least < 0))
    wrong = np.flatnonzero(is_wrong)
    if len(wrong):
        row = int(wrong[0])
        raise ConfigError(
            "probabilities",
            got=f"row {row} with the sum {sums[row]:.6g} and the least value {least[row]:.6g}"
            + (f", and {len(wrong) - 1:,} more rows" if len(wrong) > 1 else ""),
            expected="non-negative values that sum to 1",
            fix="apply softmax to logits, or pass them to `add`",
        )


class Collector:
    """Collects the model's predictions for examples.

    Args:
        num_classes: Number of classes.
        num_examples: Number of examples of all ranks.
        capacity: Maximum number of examples of this rank.
        directory: Directory of the file for probabilities that are too many for memory; the
            system's directory for temporary files if None. The file is unlinked at once and
            disappears with this process.
        max_bytes: Maximum size in memory.
        averaged_classes: Classes over which metrics are averaged, if the examples are of a subset
            of the classes; None for all.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        num_examples: int,
        capacity: int,
        directory: Path | None = None,
        max_bytes: int = MAX_BYTES_IN_MEMORY,
        averaged_classes: Integers | None = None,
    ) -> None:
        self.num_classes = num_classes
        self.averaged_classes = averaged_classes
        self.num_examples = num_examples
        self.times_unreadable = np.zeros(num_examples, np.int64)
        self._parts: list[Examples] = []
        self._length = 0
        shape = (num_classes, capacity)
        if 8 * num_classes * capacity <= max_bytes:
            self._scores: Floats = np.empty(shape, np.float64)
        else:
            with tempfile.TemporaryFile(dir=directory) as file:
                self._scores = np.memmap(file, np.float64, "w+", shape=shape)

    @property
    def scores(self) -> Floats:
        """Probabilities, `[num_classes, collected]`, in the order of `examples()`."""
        return self._scores[:, : self._length]

    def examples(self) -> Examples:
        """Returns the per-example results of the collected examples."""
        nothing = np.empty(0, np.int64)
        first = examples_of(nothing, nothing, np.empty((0, self.num_classes)), np.empty(0))
        return join([first, *self._parts])

    def add(self, numbers: Integers, labels: Integers, logits: npt.NDArray[np.floating]) -> None:
        """Adds a block.

        Args:
            numbers: Example numbers, `[block_size]`; negative ones are padding.
            labels: `[block_size]`.
            logits: `[block_size, num_classes]`.

        Raises:
            ConfigError: If a label or a number is out of range, or there are more than announced.
        """
        self._require_valid(numbers[numbers >= 0], labels[numbers >= 0], logits[numbers >= 0])
        is_real = numbers >= 0
        numbers, labels, logits = numbers[is_real], labels[is_real], logits[is_real]
        self._add(numbers, labels, softmax(logits), cross_entropies(labels, logits))

    def add_probabilities(self, numbers: Integers, labels: Integers, probabilities: Floats) -> None:
        """Adds a block given by probabilities instead of logits.

        Args:
            numbers: Example numbers, `[block_size]`.
            labels: `[block_size]`.
            probabilities: `[block_size, num_classes]`, float64. Rows that are not finite make
                the metrics undefined; others sum to 1, up to 0.001.

        Raises:
            ConfigError: If a row is no distribution, a label or a number is out of range, or there
                are more than announced.
        """
        self._require_valid(numbers, labels, probabilities)
        require_distributions(probabilities)
        losses = losses_of_probabilities(labels, probabilities)
        self._add(numbers, labels, probabilities, losses)

    def leave_out(self, numbers: Integers) -> None:
        """Records examples that could not be decoded, `[left_out]`."""
        np.add.at(self.times_unreadable, numbers, 1)

    def _require_valid(
        self, numbers: Integers, labels: Integers, outputs: npt.NDArray[np.floating]
    ) -> None:
        """Raises an error if a block does not fit the announced numbers."""
        expected = len(numbers), self.num_classes
        if outputs.shape != expected or labels.shape != expected[:1]:
            raise ConfigError(
                "probabilities",
                got=f"shapes {numbers.shape}, {labels.shape} and {outputs.shape}",
                expected=f"numbers {expected[:1]}, labels {expected[:1]} and outputs {expected}",
                fix="pass one row per example and one column per class",
            )
        for name, values, limit in (
            ("labels", labels, self.num_classes),
            ("numbers", numbers, self.num_examples),
        ):
            wrong = np.flatnonzero((values < 0) | (values >= limit))
            if len(wrong):
                raise ConfigError(
                    name,
                    got=f"{values[wrong[0]]} in row {wrong[0]}",
                    expected=f"0 to {limit - 1}",
                    fix="correct it; they are counted from 0",
                )
        most = self._scores.shape[1]
        if self._length + len(numbers) > most:
            raise ConfigError(
                "capacity",
                got=f"{most:,}, but {self._length + len(numbers):,} examples",
                expected="at least the number of examples that this rank adds",
                fix="increase it",
            )

    def _add(
        self, numbers: Integers, labels: Integers, probabilities: Floats, losses: Floats
    ) -> None:
        end = self._length + len(numbers)
        # Transposed first: copying row by row into a large array takes several times as long.
        self._scores[:, self._length : end] = np.ascontiguousarray(probabilities.T)
        self._length = end
        self._parts.append(examples_of(numbers, labels, probabilities, losses))
