"""The arithmetic of a run: batches, steps, learning rate. Plain numbers, no tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from hvd_imgcls.errors import ConfigError


def per_rank_batch_size(global_batch_size: int, size: int, accumulation_steps: int) -> int:
    """Returns the number of examples in one backward pass on one rank.

    Raises:
        ConfigError: If the global batch is not divisible; the fix names sizes that are.
    """
    parts = size * accumulation_steps
    if global_batch_size % parts == 0:
        return global_batch_size // parts
    below, above = global_batch_size // parts * parts, -(-global_batch_size // parts) * parts
    nearest = f"{below} or {above}" if below else f"{above}"
    passes = f" x {accumulation_steps} accumulated passes" if accumulation_steps > 1 else ""
    sizes = _sizes_that_divide(global_batch_size, accumulation_steps)
    fix = f"use {nearest}"
    if sizes:
        fix += f", or {_any_of(sizes)} ranks"
    raise ConfigError(
        "train.global_batch_size",
        got=global_batch_size,
        expected=f"a multiple of {parts} ({size} ranks{passes})",
        fix=fix,
    )


def _sizes_that_divide(global_batch_size: int, accumulation_steps: int) -> list[int]:
    """Returns the numbers of ranks, up to 64, that divide this batch evenly."""
    if global_batch_size % accumulation_steps:
        return []
    per_pass = global_batch_size // accumulation_steps
    return [size for size in range(1, min(per_pass, 64) + 1) if per_pass % size == 0]


def _any_of(numbers: Sequence[int]) -> str:
    """Formats numbers as `1, 2 or 4`."""
    *most, last = [str(number) for number in numbers]
    return f"{', '.join(most)} or {last}" if most else last


def steps_per_epoch(
    num_examples: Sequence[int], global_batch_size: int, *, drops_last: bool
) -> int:
    """Returns the number of global batches in an epoch.

    Args:
        num_examples: Training examples of each host that stores its own, or their total number.
        global_batch_size: Divided equally among these hosts.
        drops_last: Whether the examples that do not fill a batch are dropped, different ones
            in every epoch, since the order changes. Otherwise the last batch is padded.

    Raises:
        ConfigError: If the examples do not fill a single batch.
    """
    per_host = global_batch_size // len(num_examples)
    if not drops_last:
        return -(-max(num_examples) // per_host)
    if min(num_examples) < per_host:
        largest = min(num_examples) * len(num_examples)
        hosts = f" ({len(num_examples)} hosts, limited by the smallest)" if num_examples[1:] else ""
        raise ConfigError(
            "train.global_batch_size",
            got=global_batch_size,
            expected=f"at most the {largest} examples of the training split{hosts}",
            fix=f"use {largest} or less, or train.last_batch: weighted",
        )
    return min(num_examples) // per_host


def warmup_steps(warmup_epochs: float, num_steps_per_epoch: int, num_steps: int) -> int:
    """Returns the number of warmup steps.

    Raises:
        ConfigError: If the warmup is longer than the run.
    """
    steps = round(warmup_epochs * num_steps_per_epoch)
    if steps >= num_steps:
        raise ConfigError(
            "schedule.warmup_epochs",
            got=warmup_epochs,
            expected=f"less than the {num_steps / num_steps_per_epoch:g} epochs of the run",
            fix="shorten the warmup or train longer",
        )
    return steps


def scaled_learning_rate(
    base_learning_rate: float,
    global_batch_size: int,
    base_batch_size: int,
    scaling: Literal["linear", "square_root", "none"],
) -> float:
    """Scales a learning rate with the global batch size.

    `linear` follows Goyal et al. 2017 (arXiv:1706.02677, section 2.1); `square_root`
    preserves the variance of the update (Krizhevsky 2014, arXiv:1404.5997, section 5).

    >>> scaled_learning_rate(0.1, 1024, 256, "linear")
    0.4
    >>> scaled_learning_rate(0.1, 1024, 256, "square_root")
    0.2
    """
    ratio = global_batch_size / base_batch_size
    factor = {"linear": ratio, "square_root": math.sqrt(ratio), "none": 1.0}[scaling]
    return base_learning_rate * factor


def balanced_class_weights(num_examples_per_class: Sequence[int]) -> list[float]:
    """Returns class weights with which all classes contribute equally to a loss.

    `num_examples / (num_classes * num_examples_per_class)`: their mean over the examples is 1,
    so learning rates remain valid. Independent of the number of ranks.

    Raises:
        ConfigError: If a class has no example.

    >>> balanced_class_weights([30, 10])
    [0.6666666666666666, 2.0]
    """
    counts = [int(count) for count in num_examples_per_class]
    if 0 in counts:
        empty = [str(label) for label, count in enumerate(counts) if not count]
        raise ConfigError(
            "train.class_weights",
            got=f"balanced, without training examples of class {', '.join(empty[:10])}",
            expected="examples of every class",
            fix="use none, or remove the class from the class list",
        )
    return [sum(counts) / (len(counts) * count) for count in counts]


def max_bad_examples(most: int, fraction: float, num_examples: int) -> int:
    """Returns how many images of a split may be bad under `data.bad_examples: quarantine`.

    The smaller of `most` and a fraction of the split, rounded up: otherwise `quarantine` would
    equal `fail` for small splits.

    >>> max_bad_examples(100, 0.001, 24), max_bad_examples(100, 0.001, 1_000_000)
    (1, 100)
    """
    # The decimal number as written, not its binary approximation.
    return min(most, math.ceil(Fraction(repr(fraction)) * num_examples))


def evaluation_steps(num_examples: int, block_size: int, size: int) -> tuple[int, int]:
    """Returns the number of blocks per rank, and the padding slots in all blocks together.

    All ranks evaluate the same number of blocks of `block_size` slots. Slots beyond the
    examples are padding with weight 0.

    >>> evaluation_steps(360, 64, 4)
    (2, 152)
    """
    num_blocks = -(-num_examples // block_size)
    steps = -(-num_blocks // size)
    return steps, steps * size * block_size - num_examples
