import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hvd_imgcls.config import (
    fingerprint,
    load_config,
    parse_config,
    split_overrides,
    to_tree,
    to_yaml,
)
from hvd_imgcls.config.reading.problems import ConfigProblemsError
from hvd_imgcls.errors import ConfigError

PIPELINE = """
data:
  source: {name: digits}
augment:
  - {name: random_crop, padding: 1}
model: {name: small_cnn}
optimizer: {name: sgd, momentum: 0.9}
schedule: {name: cosine, base_learning_rate: 0.1}
train: {global_batch_size: 64, num_epochs: 20}
"""


def parse(*overrides, text=PIPELINE):
    return parse_config(text, overrides, origin="x.yaml")


def problems_of(*overrides, text=PIPELINE):
    with pytest.raises(ConfigProblemsError) as raised:
        parse(*overrides, text=text)
    assert raised.value.exit_code == 2
    return {problem.key: str(problem) for problem in raised.value.problems}, str(raised.value)


def test_parse_without_overrides_takes_file_then_defaults():
    config = parse()
    assert config.train.global_batch_size == 64
    assert config.train.precision == "float32"
    assert config.loss.label_smoothing == 0.0


def test_parse_with_override_prefers_command_line():
    config = parse("--train.num_epochs", "2", "--optimizer.momentum=5e-1", "--augment.0.padding=2")
    assert (config.train.num_epochs, config.optimizer.momentum) == (2, 0.5)
    assert config.augment[0].padding == 2


def test_parse_with_override_of_whole_section_replaces_it():
    config = parse("--optimizer", "{name: adamw, weight_decay: 1e-3}", "--augment", "[]")
    assert (config.optimizer.name, config.optimizer.weight_decay) == ("adamw", 0.001)
    assert config.augment == ()


def test_parse_with_override_of_absent_section_adds_it():
    assert parse("--evaluation.block_size", "7").evaluation.block_size == 7
    assert parse("--train.ema.decay", "0.5").train.ema.decay == 0.5


def test_parse_with_unknown_key_suggests_the_likely_one():
    problems, text = problems_of("--train.num_epoch", "3")
    assert "did you mean 'train.num_epochs'?" in problems["train.num_epoch"]
    assert "command line" in problems["train.num_epoch"]
    assert text.startswith("x.yaml: 1 problem")


def test_parse_with_unknown_section_names_the_file():
    problems, _ = problems_of(text=PIPELINE + "\nmodle: {name: small_cnn}")
    assert "did you mean 'model'?" in problems["modle"]
    assert "in x.yaml" in problems["modle"]


def test_parse_with_several_mistakes_lists_all_of_them():
    problems, text = problems_of(
        "--train.num_steps=3",
        "--optimizer.momentum=1.5",
        "--augment.0.padding=no",
        "--train.seed=true",
        "--model.nam=3",
        "--schedule.name=cosin",
    )
    assert set(problems) == {
        "optimizer.momentum",
        "augment.0.padding",
        "train.seed",
        "model.nam",
        "schedule.name",
    }
    assert "did you mean 'cosine'?" in problems["schedule.name"]
    assert text.count("\n") == len(problems)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("--train.global_batch_size=64.0", "train.global_batch_size"),
        ("--train.global_batch_size='64'", "train.global_batch_size"),
        ("--train.global_batch_size=true", "train.global_batch_size"),
        ("--train.global_batch_size=0", "train.global_batch_size"),
        ("--optimizer.nesterov=yes", "optimizer.nesterov"),
        ("--optimizer.nesterov=1", "optimizer.nesterov"),
        ("--optimizer.momentum=.nan", "optimizer.momentum"),
        ("--schedule.base_learning_rate=.inf", "schedule.base_learning_rate"),
        ("--train.precision=bf16", "train.precision"),
        ("--model.num_filters=[1]", "model.num_filters.1"),
        ("--train=7", "train"),
        ("--run_dir=[]", "run_dir"),
        ("--optimizer={}", "optimizer.name"),
        ("--train.num_epochs=null", "train"),
        ("--train.num_steps=5", "train"),
        ("--train.seed=4294967296", "train.seed"),
    ],
)
def test_parse_with_wrong_value_names_its_key(override, key):
    problems, _ = problems_of(override)
    assert list(problems) == [key]


@pytest.mark.parametrize(
    "words",
    [
        ["train.seed", "3"],
        ["--train.seed"],
        ["--train.seed", "--train.num_epochs", "3"],
        ["--augment.1.padding", "3"],
        ["--augment.x", "3"],
        ["--train.seed.x", "3"],
        ["--train.seed", "[1"],
    ],
)
def test_parse_with_malformed_override_raises_config_error(words):
    with pytest.raises(ConfigError):
        parse(*words)


@pytest.mark.parametrize(
    ("augmentation", "key"),
    [
        ("{name: random_resized_crop, area: [0.5, 0.1]}", "augment.0"),
        ("{name: random_resized_crop, aspect_ratio: [2, 1]}", "augment.0"),
        ("{name: random_resized_crop, area: [0.5, 1.5]}", "augment.0"),
        ("{name: random_erasing, area: [0.5, 0.1]}", "augment.0"),
        ("{name: random_erasing, area: [0, 0.1]}", "augment.0.area.0"),
        ("{name: random_erasing, area: [0.1, 1.5]}", "augment.0"),
        ("{name: random_erasing, aspect_ratio: [2, 1]}", "augment.0"),
        ("{name: random_flip, probability: 1.1}", "augment.0.probability"),
        ("{name: random_crop, padding: -1}", "augment.0.padding"),
        ("{name: colour_jitter, hue: 0.6}", "augment.0.hue"),
        ("{name: rand_augment, magnitude: 31}", "augment.0.magnitude"),
        ("{name: mixup, alpha: 0}", "augment.0.alpha"),
        ("{name: random_rotation}", "augment.0.degrees"),
        ("{name: cutuot}", "augment.0.name"),
    ],
)
def test_parse_with_wrong_augmentation_names_its_key(augmentation, key):
    problems, _ = problems_of(f"--augment=[{augmentation}]")
    assert list(problems) == [key]


def test_load_of_missing_file_names_it(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        load_config(tmp_path / "absent.yaml")


def test_load_of_binary_file_names_it(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "x.yaml")


@given(
    learning_rate=st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False),
    run_dir=st.none() | st.text(),
    seed=st.integers(0, 2**32 - 1),
)
@example(learning_rate=1e-7, run_dir="0E0", seed=0)
@example(learning_rate=1.0, run_dir="no", seed=0)
def test_yaml_of_a_configuration_reads_back_equal(learning_rate, run_dir, seed):
    config = parse()
    config = dataclasses.replace(
        config,
        schedule=dataclasses.replace(config.schedule, base_learning_rate=learning_rate),
        train=dataclasses.replace(config.train, seed=seed),
        run_dir=run_dir,
    )
    assert parse_config(to_yaml(config), origin="again") == config


def test_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse().train.seed = 3


def test_fingerprint_depends_on_values_and_not_on_the_directory():
    same = [
        fingerprint(parse()),
        fingerprint(parse("--run_dir", "a")),
        fingerprint(parse("--train.seed=0")),
    ]
    assert len(set(same)) == 1
    assert fingerprint(parse("--train.seed=1")) != same[0]


def test_tree_holds_every_default():
    assert to_tree(parse())["evaluation"] == {
        "every_epochs": None,
        "block_size": 64,
        "views": "one",
        "crop_fraction": 0.875,
        "thresholds": {"recall": [], "precision": []},
        "metrics": None,
    }


@pytest.mark.parametrize(
    "words",
    [
        ["x.yaml", "--json", "--train.seed", "3", "--run_dir=a"],
        ["--train.seed", "3", "--run_dir=a", "x.yaml", "--json"],
        ["--train.seed", "3", "x.yaml", "--run_dir=a", "--json"],
    ],
)
def test_split_overrides_in_any_order_finds_them(words):
    assert split_overrides(words) == (["x.yaml", "--json"], ["--train.seed", "3", "--run_dir=a"])


def test_runs_from_before_a_key_existed_are_read_as_what_they_did(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(PIPELINE)
    new, old = load_config(path).data, load_config(path, is_of_run=True).data
    assert (new.resize, new.exif_orientation) == ("antialias", "apply")
    assert (old.resize, old.exif_orientation) == ("bilinear", "ignore")
    path.write_text(to_yaml(load_config(path)))
    assert load_config(path, is_of_run=True).data == new


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("optimizer.lr", "schedule.base_learning_rate"),
        ("train.learning_rate", "schedule.base_learning_rate"),
        ("train.batch_size", "train.global_batch_size"),
        ("model.image_size", "data.image_size"),
        ("data.views", "evaluation.views"),
        ("epochs", "train.num_epochs"),
        ("train.sed", "train.seed"),
    ],
)
def test_a_key_of_another_section_or_library_is_named(key, meant):
    with pytest.raises(ConfigError, match=f"did you mean {meant!r}"):
        parse_config(PIPELINE, [f"--{key}=1"], origin="x.yaml")


def test_a_key_that_an_optimizer_does_not_have_is_not_suggested_again():
    with pytest.raises(ConfigError) as raised:
        parse_config(PIPELINE, ["--optimizer={name: muon, wd: 1}"], origin="x.yaml")
    assert "'optimizer.wd'" not in str(raised.value)


def test_thousands_of_problems_are_not_thousands_of_lines():
    text = PIPELINE + "".join(f"key_{number}: 1\n" for number in range(60_005))
    with pytest.raises(ConfigError) as raised:
        parse_config(text, [], origin="x.yaml")
    lines = str(raised.value).splitlines()
    assert lines[0] == "x.yaml: 60,005 problems"
    assert lines[-1] == "  and 59,985 more"
    assert len(lines) == 22


def test_a_pipeline_file_may_have_a_byte_order_mark_and_cr_lf(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + PIPELINE.lstrip().replace("\n", "\r\n").encode())
    assert load_config(path) == parse_config(PIPELINE, origin="x.yaml")
