"""What cannot be combined with `model.head: class_sharded`."""

from __future__ import annotations

from hvd_imgcls.config.models import class_sharded_head
from hvd_imgcls.config.running.callbacks import EarlyStopping, ModelCheckpoint
from hvd_imgcls.config.schema import RunConfig
from hvd_imgcls.errors import ConfigError


def require_class_sharding(config: RunConfig) -> None:
    """Rejects what is done with the whole last layer, or with its gradient, on one rank.

    Raises:
        ConfigError: With `model.head: class_sharded` and something that it excludes.
    """
    if class_sharded_head(config.model) is None:
        return
    synchronization, clipping = config.synchronization, config.gradient_clipping.name
    excluded = {
        f"loss {config.loss.name}": config.loss.name != "cross_entropy",
        f"optimizer {config.optimizer.name}": config.optimizer.name in ("lamb", "lars"),
        f"gradient_clipping {clipping}": clipping in ("norm", "global_norm"),
        "train.precision mixed_float16": config.train.precision == "mixed_float16",
        "data.allocation dynamic": config.data.allocation.name == "dynamic",
        "train.compile xla": config.train.compile == "xla",
        f"synchronization.mode {synchronization.mode.name}": synchronization.mode.name
        != "allreduce",
        f"synchronization.compression {synchronization.compression.name}": (
            synchronization.compression.name not in ("none", "fp16")
        ),
        "synchronization.shard_optimizer_state": synchronization.shard_optimizer_state,
        "the callback model_checkpoint": any(
            isinstance(callback, ModelCheckpoint) for callback in config.callbacks
        ),
        "early_stopping and restore_best_weights": any(
            isinstance(callback, EarlyStopping) and callback.restore_best_weights
            for callback in config.callbacks
        ),
    }
    for what, is_so in excluded.items():
        if is_so:
            raise _refused(what)


def evaluates_by_example(config: RunConfig) -> bool:
    """Whether an evaluation collects no probabilities of all classes: `evaluation.metrics`."""
    if config.evaluation.metrics is None:
        return class_sharded_head(config.model) is not None
    return config.evaluation.metrics == "by_example"


def require_collected_scores(config: RunConfig) -> None:
    """Rejects metrics that need the scores of all classes, if these are not collected.

    Raises:
        ConfigError: If thresholds are to be reported, or a callback monitors ROC AUC.
    """
    if not evaluates_by_example(config):
        return
    thresholds = config.evaluation.thresholds
    needing = {"evaluation.thresholds": bool(thresholds.recall or thresholds.precision)}
    for index, callback in enumerate(config.callbacks):
        monitor = getattr(callback, "monitor", None)
        needing[f"callbacks.{index}.monitor val_roc_auc"] = monitor == "val_roc_auc"
    for what, is_so in needing.items():
        if is_so:
            raise ConfigError(
                "evaluation.metrics",
                got=f"by_example, the default of model.head class_sharded, with {what}"
                if config.evaluation.metrics is None
                else f"by_example, with {what}",
                expected="all: it needs the scores of all classes for every held-out example",
                fix="omit it; or set evaluation.metrics: all, with which every rank has the whole "
                "last layer in an evaluation, and a probability for each of its examples and class",
            )


def require_dense_head(config: RunConfig, what: str) -> None:
    """Rejects dividing the last layer.

    Args:
        config: The configuration.
        what: What excludes it, a noun.

    Raises:
        ConfigError: With `model.head: class_sharded`.
    """
    if class_sharded_head(config.model) is not None:
        raise _refused(what)


def _refused(what: str) -> ConfigError:
    return ConfigError(
        "model.head",
        got=f"class_sharded, with {what}",
        expected="dense: no rank has the whole last layer",
        fix="change one of them",
    )
