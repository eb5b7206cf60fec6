import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.config import parse_config
from hvd_imgcls.config.reading import strict_yaml
from hvd_imgcls.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("5E4", 5e4),
        ("-1.5e+2", -150.0),
        (".5", 0.5),
        ("3.", 3.0),
        ("-7", -7),
        ("0", 0),
        ("007", "007"),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("no", "no"),
        ("on", "on"),
        ("Off", "Off"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("2026-01-31", "2026-01-31"),
        ("e5", "e5"),
        ("1e", "1e"),
        ("'1'", "1"),
    ],
)
def test_read_of_a_scalar_means_what_people_mean(text, value):
    read = strict_yaml.read(text, origin="x")
    assert (read, type(read)) == (value, type(value))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_read_of_any_printed_float_is_that_float(value):
    assert strict_yaml.read(repr(value), origin="x") == value


def test_read_with_a_key_twice_names_both_lines():
    with pytest.raises(ConfigError, match=r"x\.yaml, line 3.*duplicate key 'a', first on line 1"):
        strict_yaml.read("a: 1\nb: 2\na: 3\n", origin="x.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "a: [1",
        "? [a]\n: 3",
        "1: 2",
        "a: !!python/object/apply:os.system [ls]",
        "a: !!binary 3",
        "[" * 1000,
        "a: \x00",
        "a: 1\n---\nb: 2",
        "a: *nobody",
    ],
)
def test_read_of_anything_but_plain_yaml_raises_config_error(text):
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        strict_yaml.read(text, origin="x.yaml")


def test_read_of_nested_aliases_stops_before_they_grow():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 10):
        aliases = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} [{aliases}]")
    with pytest.raises(ConfigError, match="aliases"):
        strict_yaml.read("\n".join(lines), origin="x.yaml")


@pytest.mark.parametrize("text", ["a: &a [*a]", "- 1", "", "word", "!!set {a}"])
def test_parse_of_a_file_without_sections_raises_config_error(text):
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        parse_config(text, origin="x.yaml")


def test_read_of_a_huge_text_raises_config_error():
    with pytest.raises(ConfigError, match="characters"):
        strict_yaml.read("a" * (strict_yaml.MAX_CHARACTERS + 1), origin="x.yaml")
