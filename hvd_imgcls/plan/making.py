"""Makes the plan of a run from configuration, number of examples and ranks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from hvd_imgcls.config.reading.consistency import require_consistent
from hvd_imgcls.config.schema import RunConfig
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.errors import ConfigError, DataError
from hvd_imgcls.files.class_lists import require_possible_number
from hvd_imgcls.plan import arithmetic
from hvd_imgcls.plan.hosts import HostShares
from hvd_imgcls.plan.threads import Threads, available_cores, share_cores


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationPlan:
    """How the held-out split is evaluated, on any number of ranks.

    Attributes:
        num_examples: Examples of the held-out split.
        block_size: Evaluation batch size of one rank.
        num_steps: Blocks that every rank evaluates.
        num_padded_examples: Padding slots with weight 0 in the blocks of all ranks.
    """

    num_examples: int
    block_size: int
    num_steps: int
    num_padded_examples: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a run will do, in plain numbers.

    Attributes:
        size: Number of ranks.
        local_size: Number of ranks on this host.
        num_train_examples: Examples of the training split.
        num_classes: Number of classes.
        global_batch_size: Examples per step over all ranks and accumulated passes.
        per_rank_batch_size: Examples in one backward pass on one rank.
        gradient_accumulation_steps: Backward passes per step.
        steps_per_epoch: Steps in one epoch.
        num_dropped_examples: Examples per epoch beyond the last full batch, not used.
        num_padded_examples: Padding slots per epoch, with weight 0.
        num_epochs: Epochs; `num_steps` may truncate the last one.
        num_steps: Steps in the whole run.
        warmup_steps: Number of learning-rate warmup steps.
        peak_learning_rate: Learning rate after the warmup, scaled to the global batch.
        evaluation: How the held-out split is evaluated.
        seed: Seed of initial weights, order and augmentation. Equal on all ranks.
        check_every_steps: Steps between two comparisons of all ranks; 0 for none.
        threads: Thread counts of one rank on this host.
        hosts: How the examples are divided over hosts; None if every rank can read all.
    """

    size: int
    local_size: int
    num_train_examples: int
    num_classes: int
    global_batch_size: int
    per_rank_batch_size: int
    gradient_accumulation_steps: int
    steps_per_epoch: int
    num_dropped_examples: int
    num_padded_examples: int
    num_epochs: int
    num_steps: int
    warmup_steps: int
    peak_learning_rate: float
    evaluation: EvaluationPlan
    seed: int
    check_every_steps: int
    threads: Threads
    hosts: HostShares | None = None

    @property
    def batches_per_epoch(self) -> int:
        """Backward passes per rank and epoch: what Keras counts as batches."""
        return self.steps_per_epoch * self.gradient_accumulation_steps

    def on_host(self, topology: Topology, threads: Threads) -> Plan:
        """Returns this plan completed for a rank's host, which is known once ranks have started.

        Args:
            topology: The rank, in a run of the same size.
            threads: Its threads.

        Raises:
            ConfigError: If the plan is for another number of ranks.
        """
        if topology.size != self.size:
            raise ConfigError(
                "plan",
                got=f"a plan for {self.size} ranks",
                expected=f"one for the {topology.size} ranks that were launched",
                fix="start the ranks with horovodrun, mpirun or srun",
            )
        return dataclasses.replace(self, local_size=topology.local_size, threads=threads)

    def to_json(self) -> dict[str, Any]:
        """Returns all numbers in JSON-compatible types."""
        return dataclasses.asdict(self)

    def agreed(self) -> dict[str, Any]:
        """Returns the numbers that must be equal on all ranks, independent of their hosts."""
        numbers = self.to_json()
        for of_this_host in ("threads", "local_size"):
            del numbers[of_this_host]
        return numbers


def make_plan(
    config: RunConfig,
    *,
    num_train_examples: int,
    num_held_out_examples: int,
    num_classes: int,
    topology: Topology,
    num_cores: int | None = None,
    hosts: HostShares | None = None,
) -> Plan:
    """Makes the plan of a run.

    Args:
        config: The configuration.
        num_train_examples: Examples of the training split.
        num_held_out_examples: Examples of the held-out split.
        num_classes: Number of classes.
        topology: Any rank of the run: only its counts are used.
        num_cores: Cores of this host. Defaults to those that this process may use.
        hosts: How the examples are divided over hosts, if they are.

    Raises:
        ConfigError: If the configuration does not suit the number of examples or ranks.
        DataError: If a split is empty or there are fewer than two classes.
    """
    require_consistent(config)
    _require_data(num_train_examples, num_held_out_examples, num_classes)
    train, schedule, size = config.train, config.schedule, topology.size
    batch_size = train.global_batch_size
    per_rank = arithmetic.per_rank_batch_size(batch_size, size, train.gradient_accumulation_steps)
    if hosts is not None:
        hosts.require_ranks(size, batch_size)
    per_epoch = arithmetic.steps_per_epoch(
        hosts.num_train_examples if hosts else (num_train_examples,),
        batch_size,
        drops_last=train.last_batch == "drop",
    )
    num_steps = train.num_steps or per_epoch * (train.num_epochs or 0)
    return Plan(
        size=size,
        local_size=topology.local_size,
        num_train_examples=num_train_examples,
        num_classes=num_classes,
        global_batch_size=batch_size,
        per_rank_batch_size=per_rank,
        gradient_accumulation_steps=train.gradient_accumulation_steps,
        steps_per_epoch=per_epoch,
        num_dropped_examples=max(0, num_train_examples - per_epoch * batch_size),
        num_padded_examples=max(0, per_epoch * batch_size - num_train_examples),
        num_epochs=-(-num_steps // per_epoch),
        num_steps=num_steps,
        warmup_steps=arithmetic.warmup_steps(schedule.warmup_epochs, per_epoch, num_steps),
        peak_learning_rate=arithmetic.scaled_learning_rate(
            schedule.base_learning_rate, batch_size, schedule.base_batch_size, schedule.scaling
        ),
        evaluation=make_evaluation_plan(
            config, num_examples=num_held_out_examples, size=size, hosts=hosts
        ),
        seed=train.seed,
        check_every_steps=train.check_every_steps,
        threads=share_cores(num_cores or available_cores(topology.local_size), topology.local_size),
        hosts=hosts,
    )


def make_evaluation_plan(
    config: RunConfig, *, num_examples: int, size: int, hosts: HostShares | None = None
) -> EvaluationPlan:
    """Returns how `num_examples` held-out examples are evaluated on `size` ranks.

    Args:
        config: The configuration.
        num_examples: Examples of the held-out split.
        size: Number of ranks.
        hosts: How the examples are divided over hosts, if they are.
    """
    block_size = config.evaluation.block_size
    num_steps, num_padded = arithmetic.evaluation_steps(num_examples, block_size, size)
    if hosts is not None:
        num_steps = hosts.evaluation_steps(size)
        num_padded = num_steps * size * block_size - num_examples
    return EvaluationPlan(
        num_examples=num_examples,
        block_size=block_size,
        num_steps=num_steps,
        num_padded_examples=num_padded,
    )


def _require_data(num_train_examples: int, num_held_out_examples: int, num_classes: int) -> None:
    """Raises an error if the data cannot be trained on or evaluated."""
    for split, count in (("training", num_train_examples), ("held-out", num_held_out_examples)):
        if count < 1:
            raise DataError(
                f"data.source: the {split} split has no examples; change how it is split"
            )
    require_possible_number(num_classes, "data.source")
    if num_classes < 2:
        raise DataError(
            f"data.source: got {num_classes} classes, expected at least 2; check the labels"
        )
