"""`synchronization.compression: auto`, and what excludes it."""

import pytest

from hvd_imgcls.config import parse_config
from hvd_imgcls.config.reading.consistency import require_consistent
from hvd_imgcls.errors import ConfigError

AUTO = "--synchronization.compression=auto"


def parse(*overrides):
    config = parse_config("data: {source: {name: digits}}", overrides, origin="x.yaml")
    require_consistent(config)
    return config


def test_the_name_alone_has_the_defaults():
    section = parse(AUTO).synchronization.compression
    assert (section.candidates, section.min_gain, section.rounds) == (("bf16", "int8"), 0.1, 5)
    section = parse("--synchronization.compression={name: auto, candidates: [power_sgd]}")
    assert section.synchronization.compression.candidates == ("power_sgd",)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([AUTO, "--synchronization.mode=delayed"], "mode allreduce, not delayed"),
        ([AUTO, "--synchronization.mode=local_sgd"], "mode allreduce, not local_sgd"),
        ([AUTO, "--synchronization.shard_optimizer_state=true"], "shard_optimizer_state"),
        ([AUTO, "--train.precision=mixed_float16"], "mixed_float16"),
        ([AUTO, "--train.determinism=true"], "measured times decide"),
        ([AUTO, "--synchronization.compression.candidates=[fp16]"], "fp16"),
        ([AUTO, "--synchronization.compression.candidates=[]"], "one or more"),
        ([AUTO, "--synchronization.compression.candidates=[int8, int8]"], "each once"),
        ([AUTO, "--synchronization.compression.min_gain=1"], "min_gain"),
        ([AUTO, "--synchronization.compression.rounds=0"], "rounds"),
    ],
    ids=str,
)
def test_what_is_refused_is_named(overrides, message):
    with pytest.raises(ConfigError, match=message):
        parse(*overrides)


def groups(value):
    return f"--synchronization.mode={{name: allreduce, groups: {value}}}"


def test_groups_are_a_number_or_measured():
    assert parse().synchronization.mode.groups is None
    assert parse(groups("4")).synchronization.mode.groups == 4
    assert parse(groups("auto")).synchronization.mode.groups == "auto"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([groups("0")], "groups"),
        ([groups("many")], "groups"),
        ([groups("auto"), AUTO], "mode.groups as a number"),
        ([groups("auto"), "--synchronization.shard_optimizer_state=true"], "mode.groups"),
        ([groups("auto"), "--train.determinism=true"], "measured times decide"),
        (["--synchronization.mode={name: delayed, groups: 2}"], "groups"),
    ],
    ids=str,
)
def test_groups_that_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        parse(*overrides)
