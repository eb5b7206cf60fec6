"""Divides the last layer of a model by class over the ranks, for `fit` of your own."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from hvd_imgcls import distributed
from hvd_imgcls.distributed import ReduceOp, global_process_set
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.class_sharding.accuracy import (
    ClassShardedAccuracy,
    ClassShardedTopKAccuracy,
)
from hvd_imgcls.keras.class_sharding.cross_entropy import ClassShardedCrossEntropy
from hvd_imgcls.keras.class_sharding.grouping import ranks_of_parts
from hvd_imgcls.keras.class_sharding.head import ClassShardedHead, last_dense
from hvd_imgcls.keras.class_sharding.part import ClassPart
from hvd_imgcls.keras.class_sharding.sampling import ClassSampler
from hvd_imgcls.keras.communication.objects import broadcast_variables
from hvd_imgcls.keras.optimizer.distributed_optimizer import register_part_variables
from hvd_imgcls.keras.saving import write_portable
from hvd_imgcls.keras.sharding.elementwise import ELEMENTWISE
from hvd_imgcls.keras.synchronization.synchronizer import synchronizer_of
from hvd_imgcls.plan.class_division import ClassDivision


def shard_classes(
    model: keras.Model,
    *,
    parts: int | None = None,
    sampled_fraction: float = 1.0,
    seed: int = 0,
) -> ClassShardedModel:
    """Divides the last layer of a model by class over the ranks.

    Collective: every rank must call this.

    Args:
        model: A functional or sequential model that ends in a plain `keras.layers.Dense` without
            activation, of at most 16,777,216 classes: to logits `[batch, num_classes]`. The root's
            weights are sent to all ranks. Its last layer has none afterwards, except in
            `gathered()`.
        parts: Number of parts, which must divide the number of ranks; None for one per rank. With
            fewer parts than ranks, `init(process_sets="dynamic")` is needed.
        sampled_fraction: Fraction of the classes of every part that takes part in a training step,
            in (0, 1], the same on all ranks; 1 for all.
        seed: Seed of the draw of classes, the same on all ranks.

    Returns:
        A model that takes the inputs of `model`, to be trained with the same number of examples on
        every rank.

    Raises:
        ConfigError: If the model or the number of parts does not fit, or the fraction is out of
            range.
    """
    ranks = distributed.current()
    rank, size = ranks.topology.rank, ranks.topology.size
    num_classes, num_parts = last_dense(model).units, size if parts is None else parts
    if not 1 <= num_parts <= num_classes or size % num_parts:
        raise ConfigError(
            "shard_classes(parts)",
            got=f"{num_parts} parts of {num_classes:,} classes on {size} ranks",
            expected="1 to one part per class, and a number that divides that of the ranks",
            fix="change it, or the number of ranks",
        )
    if not 0 < sampled_fraction <= 1:
        raise ConfigError(
            "shard_classes(sampled_fraction)",
            got=sampled_fraction,
            expected="above 0, and at most 1",
            fix="1 trains with all classes in every step",
        )
    settings = {"parts": num_parts, "sampled_fraction": sampled_fraction, "seed": seed}
    distributed.agreement.require_same(
        ranks, {"shard_classes": settings}, "pass the same arguments on every rank"
    )
    broadcast_variables(model.variables, root_rank=0)
    division = ClassDivision(num_classes=num_classes, num_parts=num_parts, size=size)
    group, copies = ranks_of_parts(ranks, division)
    part = ClassPart(division, rank, group=group, copies=copies)
    sampler = ClassSampler(part, sampled_fraction, seed) if sampled_fraction < 1 else None
    head = ClassShardedHead(model, part, sampler, model_class=ClassShardedModel)
    divided: ClassShardedModel = head.model
    # Not tracked by Keras: its layers are those of the model.
    divided.__dict__["_head"] = head
    return divided


class ClassShardedModel(keras.Model):
    """A model whose last layer is divided by class over the ranks: see `shard_classes`.

    From the inputs of the whole model to logits of this rank's classes, for the examples of all
    ranks, `[group_batch, own_classes]`, float32. `fit` and `evaluate` are collective: every rank
    must call them with as many batches of the same size. For `predict`, use the whole model.
    """

    _head: ClassShardedHead

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer,
        *,
        label_smoothing: float = 0.0,
        top_k: Sequence[int] = (),
        **keywords: Any,
    ) -> None:
        """Compiles with softmax cross-entropy and accuracy of all classes.

        Targets are class numbers, `[batch]`, any number type; or weights of k classes and then
        their numbers, `[batch, 2 k]`, float32, such as those of mixed examples. Loss and accuracy
        are those of this rank's examples: pass `hvd.callbacks.MetricAverageCallback` to `fit`.

        Args:
            optimizer: Result of `hvd.DistributedOptimizer`, which averages the gradients of the
                other layers: one of Keras's element-wise optimizers.
            label_smoothing: Fraction of every target spread evenly over all classes, in [0, 1).
            top_k: For each number k, the metric `top_k_accuracy`, such as `top_5_accuracy`: whether
                the label is among the k classes with the largest logits.
            **keywords: `run_eagerly`, `steps_per_execution`, `auto_scale_loss` of Keras.

        Raises:
            ConfigError: If the optimizer needs whole variables or whole gradients, or with another
                loss or metric.
        """
        _require_own_loss(keywords)
        _require_usable(optimizer)
        if not 0 <= label_smoothing < 1:
            raise ConfigError(
                "compile(label_smoothing)",
                got=label_smoothing,
                expected="at least 0, and below 1",
                fix="0 for none",
            )
        head = self._head
        register_part_variables(optimizer, head.variables)
        super().compile(
            optimizer=optimizer,
            loss=ClassShardedCrossEntropy(head.part, label_smoothing),
            weighted_metrics=[
                ClassShardedAccuracy(head.part),
                *(ClassShardedTopKAccuracy(head.part, k, f"top_{k}_accuracy") for k in top_k),
            ],
            jit_compile=False,
            **keywords,
        )

    def gathered(self) -> contextlib.AbstractContextManager[keras.Model]:
        """Returns a context manager that yields the whole model, with the weights of all parts.

        Every rank needs memory for its last layer. Functions that are traced with it are invalid
        afterwards. Collective: every rank must call this.
        """
        return self._head.gathered()

    def save(self, filepath: str | Path, **keywords: Any) -> None:
        """Saves the whole model, without the optimizer, as a `.keras` file of plain Keras.

        `keras.saving.load_model` loads it, and `shard_classes` divides the result again.

        Collective: every rank must call this. The root writes.

        Args:
            filepath: A path that ends in `.keras`.
            **keywords: None are taken.

        Raises:
            ConfigError: With another kind of file, or arguments of Keras's `save`.
        """
        if keywords or Path(filepath).suffix != ".keras":
            raise ConfigError(
                "save",
                got=f"{filepath}{f' with {sorted(keywords)}' if keywords else ''}",
                expected="a path that ends in .keras, and nothing else",
                fix="use `with model.gathered() as whole` for other ways of saving",
            )
        with self.gathered() as whole:
            saved = whole
            if whole.compiled:
                # Its own optimizer knows nothing of this training.
                saved = keras.Model(whole.inputs, whole.outputs, name=whole.name)
            distributed.agreement.on_root(
                distributed.current(), lambda: write_portable(Path(filepath), saved)
            )


def _require_own_loss(keywords: dict[str, Any]) -> None:
    """Refuses losses and metrics, which would not see all classes."""
    taken = {"run_eagerly", "steps_per_execution", "auto_scale_loss"}
    others = sorted(name for name in keywords if name not in taken)
    if others:
        raise ConfigError(
            "compile",
            got=", ".join(others),
            expected=f"optimizer, label_smoothing, top_k, {', '.join(sorted(taken))}: loss and "
            "accuracies are computed over the parts of all ranks",
            fix="omit them, or train the whole model on every rank",
        )


def _require_usable(optimizer: Any) -> None:
    """Refuses optimizers that need whole variables, or all ranks' gradients of one variable."""
    synchronizer = synchronizer_of(optimizer)
    if synchronizer is None:
        raise ConfigError(
            "compile(optimizer)",
            got=optimizer,
            expected="one that hvd.DistributedOptimizer returned",
            fix="wrap it: without, every rank would train the other layers for itself",
        )
    settings, plain = synchronizer.settings.reduction, optimizer.__class__
    excluded = {
        plain.__name__: plain not in [getattr(keras.optimizers, name) for name in ELEMENTWISE],
        "clipping by norm": bool(
            getattr(optimizer, "clipnorm", None) or getattr(optimizer, "global_clipnorm", None)
        ),
        f"op {settings.op.name}": settings.op != ReduceOp.AVERAGE,
        "scale_local_gradients=False": not settings.scale_local_gradients,
        f"mode {settings.mode.name}": settings.mode.name != "allreduce",
        "lossy compression": settings.is_lossy,
        "shard_optimizer_state": settings.shard_optimizer_state,
        "a process set": settings.process_set is not global_process_set,
    }
    for what, is_so in excluded.items():
        if is_so:
            raise ConfigError(
                "compile(optimizer)",
                got=f"one with {what}",
                expected=f"one of {', '.join(ELEMENTWISE)} that averages gradients in every step: "
                "no rank has the whole last layer, or its gradient",
                fix="change it, or train the whole model on every rank",
            )
