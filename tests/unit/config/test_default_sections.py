"""Sections can be left out, and every key is explained on the terminal."""

import pytest

from hvd_imgcls import cli
from hvd_imgcls.config import parse_config
from hvd_imgcls.config.key_help import key_help, section_names
from hvd_imgcls.config.reading import walk
from hvd_imgcls.config.schema import RunConfig
from hvd_imgcls.errors import ConfigError

SHORTEST = "data: {source: {name: digits}}"


def parse(*overrides, text=SHORTEST):
    return parse_config(text, overrides, origin="x.yaml")


def test_the_data_are_enough():
    with pytest.raises(ConfigError, match="data: got nothing"):
        parse(text="train: {num_epochs: 3}")
    config = parse()
    assert (config.model.name, config.optimizer.name) == ("small_cnn", "adamw")
    assert (config.schedule.name, config.schedule.base_learning_rate) == ("cosine", 0.001)
    assert (config.train.global_batch_size, config.train.num_epochs) == (64, 10)


def test_a_key_of_a_section_that_is_left_out_changes_the_default():
    config = parse("--schedule.base_learning_rate=0.5", "--optimizer.weight_decay", "0.25")
    assert (config.schedule.base_learning_rate, config.schedule.scaling) == (0.5, "square_root")
    assert (config.optimizer.name, config.optimizer.weight_decay) == ("adamw", 0.25)
    assert parse("--train.num_epochs=2").train.num_epochs == 2
    config = parse("--optimizer={name: sgd}", "--optimizer.momentum=0.5")
    assert (config.optimizer.name, config.optimizer.momentum) == ("sgd", 0.5)
    # The defaults themselves stay.
    assert parse().schedule.base_learning_rate == 0.001


@pytest.mark.parametrize("name", section_names())
def test_every_key_of_a_section_is_explained(name, capsys):
    assert cli.main(["keys", name]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{name}: ")
    assert max(map(len, said.splitlines())) <= 100
    annotation = walk.field_types(RunConfig)[name]
    below = f"{name}.N" if walk.element_of(annotation) is not None else name
    for section in walk.sections_of(walk.element_of(annotation) or annotation):
        for key in walk.field_types(section):
            assert f"{below}.{key}" in said


def test_sections_are_listed_and_unknown_ones_refused(capsys):
    assert cli.main(["keys"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == section_names()
    assert cli.exit_code_of(lambda: cli.main(["keys", "optimiser"])) == 2
    assert "invalid choice: 'optimiser'" in capsys.readouterr().err
    assert list(key_help("optimizer"))
