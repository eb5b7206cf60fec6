"""The order of examples in an epoch, and its division over ranks. Plain numbers, no tensors.

The order of an epoch is a pure function of (seed, epoch). It is cut into global batches,
and every rank takes its contiguous part of each: the sequence of global batches is the same
for every number of ranks that divides the batch. The position in a run is (epoch, step);
starting there costs only the computation of that epoch's order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hvd_imgcls.data.randomness.generators import generator_of

Numbers = npt.NDArray[np.int64]

# Separates the random stream of the order from other uses of the same seed.
_PURPOSE = 0x6F72646572  # "order"


def epoch_order(num_examples: int, seed: int, epoch: int) -> Numbers:
    """Returns the example numbers in the order of an epoch, `[num_examples]`.

    Args:
        num_examples: Examples of the training split.
        seed: `train.seed`.
        epoch: 0-based.
    """
    return generator_of(_PURPOSE, seed, epoch).permutation(num_examples)


def cut_or_padded(order: Numbers, num_slots: int) -> Numbers:
    """Returns the first `num_slots` numbers, padded with -1 if there are fewer."""
    if len(order) >= num_slots:
        return order[:num_slots]
    return np.pad(order, (0, num_slots - len(order)), constant_values=-1)


def blocks_of(num_examples: int, block_size: int) -> Numbers:
    """Cuts the examples into blocks in their original order, with -1 for padding.

    The blocks do not depend on the number of ranks: they are assigned to the ranks, and results
    are concatenated in the order of the blocks.

    Returns:
        `[blocks, block_size]`, int64.
    """
    num_blocks = -(-num_examples // block_size)
    padded = cut_or_padded(np.arange(num_examples, dtype=np.int64), num_blocks * block_size)
    return padded.reshape(num_blocks, block_size)
