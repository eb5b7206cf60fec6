"""What a rank reads from a given position of the run. Plain numbers, no tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hvd_imgcls.data.order import epoch_order
from hvd_imgcls.data.order.division import Division
from hvd_imgcls.data.randomness import keys
from hvd_imgcls.plan import EvaluationPlan, Plan
from hvd_imgcls.plan.allocation import Allocation


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """One rank's part of consecutive batches, one row per backward pass.

    Attributes:
        examples: Example numbers, `[batches, per_rank_batch_size]`, int64. If the ranks have
            different numbers of examples, as wide as the longest, and filled with -1.
        weights: Their weights, the same shape, float32. Normally 1; in a batch with padding, 0
            for padding, and the others are scaled such that the mean over all ranks is the mean
            over the real examples.
    """

    examples: epoch_order.Numbers
    weights: npt.NDArray[np.float32]

    def first(self, num_batches: int, skipped: int = 0) -> list[int]:
        """Returns the example numbers of the first batches, after some that are skipped."""
        row = self.examples[skipped : skipped + num_batches].reshape(-1)
        return list(map(int, row[row >= 0]))


def epoch_slots(plan: Plan, epoch: int, division: Division | None = None) -> epoch_order.Numbers:
    """Returns the example numbers of an epoch's global batches, -1 for padding.

    Args:
        plan: The plan of the run.
        epoch: 0-based.
        division: How the examples are divided over hosts, if they are.

    Returns:
        `[steps_per_epoch, global_batch_size]`, int64.
    """
    shape = plan.steps_per_epoch, plan.global_batch_size
    if division is None:
        examples = epoch_order.epoch_order(plan.num_train_examples, plan.seed, epoch)
        return epoch_order.cut_or_padded(examples, shape[0] * shape[1]).reshape(shape)
    return division.epoch_slots(plan.seed, epoch, num_steps=shape[0], global_batch_size=shape[1])


def rank_rows(
    plan: Plan,
    *,
    rank: int,
    epoch: int,
    start_step: int = 0,
    division: Division | None = None,
    allocation: Allocation | None = None,
) -> Rows:
    """Returns what one rank reads in an epoch of the run.

    Args:
        plan: The plan of the run.
        rank: The rank.
        epoch: 0-based.
        start_step: First step, 0-based within the epoch.
        division: How the examples are divided over hosts, if they are.
        allocation: How they are divided over ranks, if not equally.

    Returns:
        `gradient_accumulation_steps` rows per step; fewer rows in the last epoch if `num_steps`
        truncates it.
    """
    slots = epoch_slots(plan, epoch, division)
    position = rank if division is None else division.position_of(rank)
    remaining_steps = plan.num_steps - epoch * plan.steps_per_epoch
    slots = slots[start_step : max(remaining_steps, start_step)]
    if allocation is not None:
        first_step = epoch * plan.steps_per_epoch + start_step
        return _allocated(
            slots, plan, [allocation.slots(first_step + index, rank) for index in range(len(slots))]
        )
    weights, part = slot_weights(slots), slots_of(plan, position)
    shape = -1, plan.per_rank_batch_size
    return Rows(
        examples=filled(slots, division)[:, part].reshape(shape),
        weights=weights[:, part].reshape(shape),
    )


def _allocated(slots: epoch_order.Numbers, plan: Plan, parts: list[slice]) -> Rows:
    """Returns the rows of a rank whose part is another one in every step."""
    num_passes = plan.gradient_accumulation_steps
    lengths = [(part.stop - part.start) // num_passes for part in parts]
    shape = len(parts), num_passes, max(lengths, default=0)
    examples, weights = np.full(shape, -1, np.int64), np.zeros(shape, np.float32)
    all_examples, all_weights = filled(slots), slot_weights(slots)
    for step, (part, length) in enumerate(zip(parts, lengths, strict=True)):
        examples[step, :, :length] = all_examples[step, part].reshape(num_passes, length)
        weights[step, :, :length] = all_weights[step, part].reshape(num_passes, length)
    flat = -1, shape[-1]
    return Rows(examples=examples.reshape(flat), weights=weights.reshape(flat))


def slots_of(plan: Plan, position: int) -> slice:
    """Returns the slots of every global batch that one rank reads.

    Args:
        plan: The plan of the run.
        position: The part of the batch, 0 .. size - 1.
    """
    whole, size = plan.global_batch_size, plan.size
    return slice(position * whole // size, (position + 1) * whole // size)


def filled(slots: epoch_order.Numbers, division: Division | None = None) -> epoch_order.Numbers:
    """Replaces padding in global batches with an example, of the slot's host if it has any.

    Args:
        slots: Example numbers, -1 for padding, `[steps, global_batch_size]`.
        division: How the examples are divided over hosts, if they are.
    """
    filling = np.zeros(1, np.int64)
    if division is not None:
        firsts = [share[0] for share in division.shares["train"]]
        filling = np.repeat(firsts, slots.shape[1] // len(firsts))
    return np.where(slots < 0, filling, slots)


def slot_weights(slots: epoch_order.Numbers) -> npt.NDArray[np.float32]:
    """Returns the weights of the slots in global batches; see `Rows`.

    Args:
        slots: Example numbers, -1 for padding, `[steps, global_batch_size]`.

    Returns:
        The same shape, float32.
    """
    num_real = (slots >= 0).sum(axis=1, keepdims=True)
    weights = np.where(slots >= 0, slots.shape[1] / np.maximum(num_real, 1), 0.0)
    return weights.astype(np.float32)


def rank_blocks(
    plan: EvaluationPlan, *, rank: int, size: int, division: Division | None = None
) -> tuple[epoch_order.Numbers, epoch_order.Numbers]:
    """Returns what one rank evaluates.

    Args:
        plan: Defines the evaluation blocks.
        rank: The rank.
        size: Number of ranks.
        division: How the examples are divided over hosts, if they are.

    Returns:
        The numbers of its blocks, `[evaluation_steps]`, and their example numbers,
        `[evaluation_steps, block_size]`, -1 for padding; the same number on every rank.
    """
    blocks = epoch_order.blocks_of(plan.num_examples, plan.block_size)
    if division is None:
        mine = np.arange(rank, len(blocks), size)
    else:
        mine = division.held_out_blocks(rank, plan.block_size)
    numbers = np.full(plan.num_steps, -1, np.int64)
    numbers[: len(mine)] = mine
    examples = np.full((plan.num_steps, plan.block_size), -1, np.int64)
    examples[: len(mine)] = blocks[mine]
    return numbers, examples


def crop_key(plan: Plan, epoch: int) -> int:
    """Returns the random key of an epoch's random resized crops, int64."""
    return keys.stream_key(plan.seed, keys.RANDOM_RESIZED_CROP, epoch)
