"""Which example is seen when, and by which rank. Plain numbers, no tensors.

The order of an epoch is a pure function of (seed, epoch). It is cut into global batches,
and every rank takes its contiguous part of each: the sequence of global batches is the same
for every number of ranks that divides the batch. The position in a run is (epoch, step), and
starting there costs no more than the order of that one epoch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]

# Sets the stream of the order apart from any other use of the same seed.
_PURPOSE = 0x6F72646572  # "order"


def epoch_order(num_examples: int, seed: int, epoch: int) -> Numbers:
    """Returns the example numbers in the order of an epoch, `[num_examples]`.

    Args:
        num_examples: Examples of the training split.
        seed: `train.seed`.
        epoch: 0-based.
    """
    sequence = np.random.SeedSequence([_PURPOSE, seed, epoch])
    # Philox's stream is fixed by numpy; that of `permutation` is not promised, and a test
    # with a hash of the result watches it.
    generator = np.random.Generator(np.random.Philox(sequence))
    return generator.permutation(num_examples)


def rank_batches(
    order: Numbers,
    *,
    global_batch_size: int,
    gradient_accumulation_steps: int,
    rank: int,
    size: int,
    start_step: int = 0,
) -> Numbers:
    """Returns the example numbers of one rank in an epoch.

    Args:
        order: The order of the epoch.
        global_batch_size: Divisible by `size * gradient_accumulation_steps`.
        gradient_accumulation_steps: Backward passes per step.
        rank: The rank, 0-based.
        size: Number of ranks.
        start_step: First step, 0-based inside the epoch.

    Returns:
        `[batches, per_rank_batch_size]`: `gradient_accumulation_steps` rows per step.
    """
    num_steps = len(order) // global_batch_size
    per_rank = global_batch_size // (size * gradient_accumulation_steps)
    steps = order[: num_steps * global_batch_size].reshape(num_steps, size, -1)
    return steps[start_step:, rank].reshape(-1, per_rank)


def rank_blocks(num_examples: int, *, block_size: int, rank: int, size: int) -> Numbers:
    """Returns the example numbers that one rank evaluates, -1 for padding.

    The examples are cut into blocks in their own order, and the blocks are dealt to the
    ranks in turn. So the very same blocks are computed whatever the number of ranks, and
    results are put together in the order of the blocks.

    Returns:
        `[evaluation_steps, block_size]`, equally many rows on every rank.
    """
    num_blocks = -(-num_examples // block_size)
    num_steps = -(-num_blocks // size)
    padded = np.full(num_steps * size * block_size, -1, dtype=np.int64)
    padded[:num_examples] = np.arange(num_examples)
    return padded.reshape(num_steps, size, block_size)[:, rank]
