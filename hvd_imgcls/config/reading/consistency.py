"""Checks across sections of a configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping

from hvd_imgcls.config.models import GivenModel, KerasApplication, KerasFile, KerasHub
from hvd_imgcls.config.normalization import UnitRange
from hvd_imgcls.config.reading.class_sharding import (
    require_class_sharding,
    require_collected_scores,
)
from hvd_imgcls.config.running.callbacks import CsvLogger, EarlyStopping, ReduceOnPlateau
from hvd_imgcls.config.schedules import ConstantSchedule
from hvd_imgcls.config.schema import RunConfig
from hvd_imgcls.errors import ConfigError

_MAX_NAME_BYTES, _MAX_PATH_BYTES = 255, 4096 - 256  # of Linux; a file of the run is added


def require_consistent(config: RunConfig) -> None:
    """Rejects sections that exclude each other.

    Raises:
        ConfigError: See the functions below.
    """
    require_possible_run_dir(config.run_dir)
    require_one_normalization(config)
    require_possible_callbacks(config)
    require_constant_loss_scale(config)
    require_compilable(config)
    require_stop_if_delayed(config)
    require_movable_examples(config)
    require_reproducible_choice(config)
    require_divisible_state(config)
    require_class_sharding(config)
    require_collected_scores(config)


def require_possible_run_dir(run_dir: str | None) -> None:
    """Rejects a path that no run directory can have.

    Raises:
        ConfigError: If it is empty, which would be the current directory, has a zero byte, or is
            too long.
    """
    if run_dir is None:
        return
    longest = max(len(os.fsencode(part)) for part in run_dir.split("/"))
    whole = len(os.fsencode(run_dir))
    is_short = longest <= _MAX_NAME_BYTES and whole <= _MAX_PATH_BYTES
    if run_dir.strip() and "\0" not in run_dir and is_short:
        return
    raise ConfigError(
        "run_dir",
        got=f"{run_dir[:40]}..., {whole} bytes, a name of {longest}" if run_dir[40:] else run_dir,
        expected="the path of a directory, of at most 3,840 bytes, 255 per name",
        fix="correct it, or omit it for runs/NAME-1 and so on",
    )


def require_constant_loss_scale(config: RunConfig) -> None:
    """Rejects loss scaling where gradients of several steps are added, whose scales may differ.

    Raises:
        ConfigError: With `mixed_float16` and a mode or compression that keeps gradients.
    """
    mode, compression = config.synchronization.mode.name, config.synchronization.compression.name
    is_plain = mode == "allreduce" and compression in ("none", "fp16")
    if is_plain or config.train.precision != "mixed_float16":
        return
    raise ConfigError(
        "train.precision",
        got=f"mixed_float16, with mode {mode} and compression {compression}",
        expected="mixed_bfloat16 or float32: the loss scale of mixed_float16 changes between steps "
        "whose gradients are added",
        fix="change it, or use mode allreduce with compression none or fp16",
    )


def require_compilable(config: RunConfig) -> None:
    """Rejects layers that communicate where they would be compiled.

    Raises:
        ConfigError: With `train.compile: xla` and synchronised batch normalisation.
    """
    if config.train.compile == "none" or config.synchronization.batch_normalization == "local":
        return
    raise ConfigError(
        "train.compile",
        got="xla, with synchronization.batch_normalization synchronized",
        expected="none, or batch_normalization local: XLA has no kernels for Horovod's operations",
        fix="change one of them",
    )


def require_stop_if_delayed(config: RunConfig) -> None:
    """Rejects skipping steps whose gradients are applied later.

    Raises:
        ConfigError: With `train.non_finite: skip` and mode `delayed`.
    """
    if config.train.non_finite == "stop" or config.synchronization.mode.name != "delayed":
        return
    raise ConfigError(
        "train.non_finite",
        got="skip, with synchronization.mode delayed",
        expected="stop: the step that should be skipped has changed moving statistics already",
        fix="change one of them",
    )


def require_movable_examples(config: RunConfig) -> None:
    """Rejects dynamic allocation where examples cannot be moved between ranks.

    Raises:
        ConfigError: With images that only some ranks can read, deterministic training, a step that
            is compiled for one batch size, or ranks that train on their own.
    """
    if config.data.allocation.name == "static":
        return
    placement, mode = config.data.placement.name, config.synchronization.mode.name
    excluded = {
        f"data.placement {placement}, where no rank can read all images": placement != "shared",
        "train.determinism true: measured times decide": config.train.determinism,
        "train.compile xla, which compiles every batch size": config.train.compile == "xla",
        "synchronization.mode local_sgd, where no gradients are averaged": mode == "local_sgd",
    }
    _refuse("data.allocation", "dynamic", excluded, expected="static")


def require_reproducible_choice(config: RunConfig) -> None:
    """Rejects what is chosen by measured times in deterministic training.

    Raises:
        ConfigError: With `train.determinism: true`.
    """
    section = config.synchronization
    excluded = {"train.determinism true: measured times decide": config.train.determinism}
    if section.compression.name == "auto":
        expected = "the name of a compression, such as none or int8"
        _refuse("synchronization.compression", "auto", excluded, expected=expected)
    if getattr(section.mode, "groups", None) == "auto":
        expected = "a number, or nothing: sums over more than two ranks depend on the groups"
        _refuse("synchronization.mode.groups", "auto", excluded, expected=expected)


def require_divisible_state(config: RunConfig) -> None:
    """Rejects dividing the state of an optimizer that needs whole weights.

    Raises:
        ConfigError: With such an optimizer, or something that is done with whole gradients.
    """
    if not config.synchronization.shard_optimizer_state:
        return
    excluded = {
        f"optimizer {config.optimizer.name}": config.optimizer.name in ("lamb", "lars", "muon"),
        "gradient_clipping adaptive": config.gradient_clipping.name == "adaptive",
        "train.lookahead": config.train.lookahead is not None,
        "train.precision mixed_float16": config.train.precision == "mixed_float16",
    }
    expected = "false: it needs whole weights or gradients on every rank"
    _refuse("synchronization.shard_optimizer_state", "true", excluded, expected=expected)


def _refuse(key: str, value: str, excluded: Mapping[str, bool], *, expected: str) -> None:
    """Raises a ConfigError for the first of what excludes a value that is so."""
    for what, is_so in excluded.items():
        if is_so:
            raise ConfigError(
                key, got=f"{value}, with {what}", expected=expected, fix="change one of them"
            )


def require_one_normalization(config: RunConfig) -> None:
    """Rejects `data.normalization` for a model that normalises pixels itself.

    Raises:
        ConfigError: If `data.normalization` is set and the model takes raw pixels.
    """
    model, normalization = config.model, config.data.normalization
    if isinstance(normalization, UnitRange):
        return
    fix = "remove data.normalization"
    if isinstance(model, KerasFile) and model.normalization_in_model:
        fix += ", or set model.normalization_in_model to false if the file needs it"
    elif not isinstance(model, KerasApplication | KerasHub | GivenModel):
        return
    raise ConfigError(
        "data.normalization",
        got=normalization.name,
        expected=f"nothing, since the model ({model.name}) takes raw pixels (0 to 255)",
        fix=fix,
    )


def require_possible_callbacks(config: RunConfig) -> None:
    """Rejects callbacks that cannot work in this run.

    Raises:
        ConfigError: If one monitors a metric that is never computed, sets a learning rate that
            the schedule sets, restores weights that the moving average replaces, or writes a
            file that another one writes.
    """
    written: set[str] = set()
    for index, callback in enumerate(config.callbacks):
        key = f"callbacks.{index}"
        if isinstance(callback, CsvLogger):
            _require_new(written, callback.file, f"{key}.file")
            continue
        if callback.monitor.startswith("val_") and config.evaluation.every_epochs is None:
            raise ConfigError(
                f"{key}.monitor",
                got=callback.monitor,
                expected="a training metric, since the held-out split is only evaluated at the end",
                fix="set evaluation.every_epochs: 1, or monitor loss or accuracy",
            )
        if isinstance(callback, ReduceOnPlateau):
            _require_free_learning_rate(config, key)
        elif isinstance(callback, EarlyStopping):
            if callback.restore_best_weights and config.train.ema is not None:
                raise ConfigError(
                    f"{key}.restore_best_weights",
                    got=True,
                    expected="false with train.ema, whose averaged weights become the model",
                    fix="set it to false, or train.ema: null",
                )
        else:
            _require_new(written, callback.name, f"{key}.name")


def _require_new(written: set[str], name: str, key: str) -> None:
    if name in written:
        raise ConfigError(key, got=name, expected="one writer per file", fix="remove one of them")
    written.add(name)


def _require_free_learning_rate(config: RunConfig, key: str) -> None:
    schedule = config.schedule
    if isinstance(schedule, ConstantSchedule) and not schedule.warmup_epochs:
        return
    warmup = " with warmup" if schedule.warmup_epochs else ""
    raise ConfigError(
        f"{key}.name",
        got=f"reduce_on_plateau with the schedule {schedule.name}{warmup}",
        expected="a constant schedule without warmup, since others set the rate at every step",
        fix="set schedule.name: constant and schedule.warmup_epochs: 0, or remove the callback",
    )
