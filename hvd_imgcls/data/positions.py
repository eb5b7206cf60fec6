"""What a rank reads from a position of the run on. Plain numbers, no tensors."""

from __future__ import annotations

from hvd_imgcls.data import keys, order
from hvd_imgcls.plan import Plan


def rank_rows(plan: Plan, *, rank: int, epoch: int, start_step: int = 0) -> order.Numbers:
    """Returns the example numbers of one rank in an epoch of the run.

    Args:
        plan: The plan of the run.
        rank: The rank.
        epoch: 0-based.
        start_step: First step, 0-based inside the epoch.

    Returns:
        `[batches, per_rank_batch_size]`, `gradient_accumulation_steps` rows per step; fewer
        in the last epoch if `num_steps` ends it early.
    """
    rows = order.rank_batches(
        order.epoch_order(plan.num_train_examples, plan.seed, epoch),
        global_batch_size=plan.global_batch_size,
        gradient_accumulation_steps=plan.gradient_accumulation_steps,
        rank=rank,
        size=plan.size,
        start_step=start_step,
    )
    remaining_steps = plan.num_steps - epoch * plan.steps_per_epoch - start_step
    return rows[: remaining_steps * plan.gradient_accumulation_steps]


def crop_key(plan: Plan, epoch: int) -> int:
    """Returns the key of an epoch's random resized crops, int64."""
    return keys.stream_key(plan.seed, keys.RANDOM_RESIZED_CROP, epoch)
