"""What two sections of a configuration may not say together."""

from __future__ import annotations

from hvd_imgcls.config.callbacks import CsvLogger, EarlyStopping, ReduceOnPlateau
from hvd_imgcls.config.models import GivenModel, KerasApplication, KerasFile
from hvd_imgcls.config.normalization import UnitRange
from hvd_imgcls.config.schedules import ConstantSchedule
from hvd_imgcls.config.schema import RunConfig
from hvd_imgcls.errors import ConfigError


def require_one_normalization(config: RunConfig) -> None:
    """Refuses a normalisation of pixels for a model that has its own.

    Raises:
        ConfigError: If `data.normalization` says something and the model takes pixels as they are.
    """
    model, normalization = config.model, config.data.normalization
    if isinstance(normalization, UnitRange):
        return
    fix = "take data.normalization out"
    if isinstance(model, KerasFile) and model.normalization_in_model:
        fix += ", or set model.normalization_in_model to false if the file needs it"
    elif not isinstance(model, KerasApplication | GivenModel):
        return
    raise ConfigError(
        "data.normalization",
        got=normalization.name,
        expected=f"nothing, since the model ({model.name}) takes pixels of 0 to 255 as they are",
        fix=fix,
    )


def require_possible_callbacks(config: RunConfig) -> None:
    """Refuses callbacks that could not do what they say in this run.

    Raises:
        ConfigError: If one waits for a metric that nobody computes, sets a learning rate that the
            schedule sets, restores what the average of the weights replaces, or writes the
            file of another.
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
                expected="a metric of training, since the held-out split is evaluated at the end",
                fix="set evaluation.every_epochs: 1, or monitor loss or accuracy",
            )
        if isinstance(callback, ReduceOnPlateau):
            _require_free_learning_rate(config, key)
        elif isinstance(callback, EarlyStopping):
            if callback.restore_best_weights and config.train.ema is not None:
                raise ConfigError(
                    f"{key}.restore_best_weights",
                    got=True,
                    expected="false with train.ema, whose average of all steps becomes the model",
                    fix="set it to false, or train.ema: null",
                )
        else:
            _require_new(written, callback.name, f"{key}.name")


def _require_new(written: set[str], name: str, key: str) -> None:
    if name in written:
        raise ConfigError(key, got=name, expected="one writer for one file", fix="take one out")
    written.add(name)


def _require_free_learning_rate(config: RunConfig, key: str) -> None:
    schedule = config.schedule
    if isinstance(schedule, ConstantSchedule) and not schedule.warmup_epochs:
        return
    warmup = " with warmup" if schedule.warmup_epochs else ""
    raise ConfigError(
        f"{key}.name",
        got=f"reduce_on_plateau with the schedule {schedule.name}{warmup}",
        expected="a constant schedule without warmup, since others set every step's learning rate",
        fix="set schedule.name: constant and schedule.warmup_epochs: 0, or take the callback out",
    )
