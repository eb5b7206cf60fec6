"""What a pipeline may say about callbacks, and what it may not."""

import pytest

from hvd_imgcls.config import parse_config
from hvd_imgcls.config.reading.consistency import require_possible_callbacks
from hvd_imgcls.config.running.callbacks import EarlyStopping, ModelCheckpoint, mode_of
from hvd_imgcls.errors import ConfigError

PIPELINE = """
data: {source: {name: digits}}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 64, num_epochs: 4}
"""


def check(callbacks, *words):
    words = [f"--callbacks={callbacks}", *words]
    config = parse_config(PIPELINE, words, origin="x.yaml")
    require_possible_callbacks(config)
    return config


EVALUATED = "--evaluation.every_epochs=1"


@pytest.mark.parametrize("name", ["early_stopping", "reduce_on_plateau", "model_checkpoint"])
def test_metric_of_the_held_out_split_needs_evaluations(name):
    callbacks = f"[{{name: csv_logger}}, {{name: {name}}}]"
    with pytest.raises(
        ConfigError, match=r"callbacks\.1\.monitor: got 'val_loss'.*set evaluation\.every_epochs: 1"
    ):
        check(callbacks)
    check(callbacks, EVALUATED)
    check(f"[{{name: {name}, monitor: accuracy}}]")


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("--schedule={name: cosine, base_learning_rate: 0.1}", "the schedule cosine'"),
        ("--schedule.warmup_epochs=1", "the schedule constant with warmup'"),
    ],
)
def test_plateau_needs_a_learning_rate_that_nobody_else_sets(word, shown):
    with pytest.raises(ConfigError, match=f"reduce_on_plateau with {shown}.*schedule.name: const"):
        check("[{name: reduce_on_plateau}]", EVALUATED, word)


def test_best_weights_cannot_be_restored_when_an_average_replaces_them():
    with pytest.raises(ConfigError, match=r"callbacks\.0\.restore_best_weights: got True"):
        check("[{name: early_stopping}]", EVALUATED, "--train.ema={}")
    check("[{name: early_stopping, restore_best_weights: false}]", EVALUATED, "--train.ema={}")


@pytest.mark.parametrize("name", ["csv_logger", "model_checkpoint"])
def test_two_writers_of_one_file_are_refused(name):
    with pytest.raises(ConfigError, match="expected one writer per file"):
        check(f"[{{name: {name}}}, {{name: {name}}}]", EVALUATED)
    check("[{name: csv_logger}, {name: csv_logger, file: other.csv}]")


@pytest.mark.parametrize("file", ["../x.csv", "sub/x.csv", "metrics.jsonl", "x"])
def test_csv_file_lies_in_the_run_directory(file):
    with pytest.raises(ConfigError, match=r"callbacks\.0"):
        check(f"[{{name: csv_logger, file: {file}}}]")


@pytest.mark.parametrize("word", ["{name: early_stopping, monitor: val_accuracy}", "{name: early}"])
def test_a_wrong_word_is_answered_with_a_suggestion(word):
    with pytest.raises(ConfigError, match="did you mean"):
        check(f"[{word}]")


def test_losses_are_good_when_low_and_others_when_high():
    assert mode_of(EarlyStopping(name="early_stopping")) == "min"
    assert mode_of(ModelCheckpoint(name="model_checkpoint", monitor="val_top1")) == "max"
    assert mode_of(EarlyStopping(name="early_stopping", mode="max")) == "max"
