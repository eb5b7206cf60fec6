"""States come back bit for bit, through the files of a checkpoint."""

import itertools
import json
import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hvd_imgcls.checkpoints.dtypes import dtype_of, name_of
from hvd_imgcls.checkpoints.encoding import MAX_DEPTH, decode, encode
from hvd_imgcls.checkpoints.values import encode_value, read_value
from hvd_imgcls.files.json_files import parse_json
from tests.support.checkpoint_disks import FastDisk
from tests.support.checkpoint_states import is_same

NUMBERS = [
    "?",
    "b",
    "<i2",
    ">i4",
    "<i8",
    "B",
    ">u2",
    "<u4",
    "<u8",
    "<f2",
    ">f4",
    "<f8",
    "<c8",
    "<c16",
]
OTHERS = ["S3", "<U2", ">U1", "<M8[ns]", "<m8[25s]", "<M8[D]"]
SMALL = ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz", "float8_e8m0fnu", "int4"]
DTYPES = [np.dtype(name) for name in NUMBERS + OTHERS] + [
    np.dtype(getattr(ml_dtypes, name)) for name in SMALL
]


def layouts(array):
    """Returns arrays of the same values in other orders in memory."""
    return [
        array,
        np.asfortranarray(array),
        np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array,
    ]


@st.composite
def arrays(draw):
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    count = int(np.prod(shape, dtype=int)) * dtype.itemsize
    if dtype.kind == "U":
        # Other bits are no characters.
        content = "".join(draw(st.lists(st.sampled_from("aé☃"), min_size=count, max_size=count)))
        content = content.encode("utf-32-le" if dtype.str[0] == "<" else "utf-32-be")[:count]
    else:
        content = draw(st.binary(min_size=count, max_size=count))
    array = np.frombuffer(bytearray(content), np.uint8).view(dtype).reshape(shape)
    return draw(st.sampled_from(layouts(array)))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.binary(min_size=8, max_size=8).map(lambda bits: struct.unpack("d", bits)[0]),
    st.text(),
    st.text(st.characters(categories=["Cs", "Lu"])),
)
KEYS = st.one_of(
    st.text(max_size=3),
    st.sampled_from(["$array", "$pairs", "$float", "$", "$$", "a", "value", "\ud83d\ude00"]),
)
VALUES = st.recursive(
    SCALARS | arrays(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    """Numbered new directories."""
    folder = tmp_path_factory.mktemp("values")
    return (folder / str(number) for number in itertools.count())


def through_files(value, directory):
    directory.mkdir()
    digests = encode_value(value).write(directory, "state", FastDisk())
    parse_json((directory / "state.json").read_bytes())
    return read_value(directory, "state", digests, FastDisk())


@settings(max_examples=300)
@example({"a": [float("nan"), -float("nan"), float("inf"), -float("inf"), -0.0, 5e-324, 1e22]})
@example({"a": [True, 1, 1.0, False, 0, 0.0, None, "", "1"]})
@example({"a": [2**63 - 1, 2**63, -(2**63), 10**5000, -(10**5000)]})
@example({"a": {"$array": 0}, "$array": {"$pairs": [["a", 1]]}, "\ud800": "\udfff"})
@example({"a": ["\ud83d\ude00", "😀", "\0", "\u2028"]})
@given(VALUES)
def test_values_come_back_bit_for_bit(directories, value):
    assert is_same(through_files(value, next(directories)), value)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (7,), (3, 5), (2, 3, 4)])
def test_arrays_of_every_type_and_order(directories, dtype, shape):
    generator = np.random.default_rng(0)
    bits = generator.integers(0, 256, int(np.prod(shape, dtype=int)) * dtype.itemsize, np.uint8)
    if dtype.kind == "U":
        bits[:] = 0
    value = layouts(bits.view(dtype).reshape(shape))
    assert is_same(through_files(value, next(directories)), value)


def test_the_bits_of_nan_are_kept(directories):
    bits = np.array([0x7F800001, 0xFFC00000, 0x7FFFFFFF], "<u4")
    small = np.arange(256, dtype=np.uint8)
    value = [bits.view("<f4"), small.view(ml_dtypes.float8_e4m3fn), np.arange(2**16, dtype="<u2")]
    value[2] = value[2].view(ml_dtypes.bfloat16)
    assert is_same(through_files(value, next(directories)), value)


def test_arrays_are_read_into_new_writable_ones(directories):
    value = [np.zeros((2, 3)).T, np.broadcast_to(np.float32(1), (2, 2))]
    read = through_files(value, next(directories))
    assert all(array.flags.writeable and array.flags.c_contiguous for array in read)


def test_arrays_are_not_copied():
    array = np.zeros(3)
    assert encode({"a": [array]})[1][0] is array


def test_a_tree_is_readable():
    value = {"a": np.zeros(2), "b": [1, 2**64, float("inf")], "c": {"$x": "\ud800"}}
    tree, found = encode(value)
    assert json.dumps(tree) == (
        '{"a": {"$array": 0}, "b": [1, {"$int": "0x10000000000000000"}, '
        '{"$float": "7ff0000000000000"}], "c": {"$pairs": [["$x", {"$text": "eda080"}]]}}'
    )
    assert is_same(decode(tree, found), value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "state: object"),
        ((1, 2), "state: tuple"),
        ([{"x": {1, 2}}], r"state\[0\].x: set"),
        ({3: 4}, "the key 3"),
        (np.float32(1), "float32"),
        (b"a", "bytes"),
        (np.array([object()]), "Python objects"),
        (np.ma.masked_array([1, 2], [0, 1]), "MaskedArray"),
    ],
)
def test_other_values_are_refused(value, message):
    with pytest.raises(TypeError, match=message):
        encode(value)


@pytest.mark.parametrize("dtype", [[("a", "<i4")], np.longdouble, np.dtype("V3")], ids=str)
def test_other_types_of_arrays_are_refused_or_kept(directories, dtype):
    array = np.zeros(2, dtype)
    if array.dtype.kind == "f":
        assert is_same(through_files(array, next(directories)), array)
        return
    with pytest.raises(TypeError, match="expected numbers or texts"):
        encode_value(array)


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def test_the_depth_is_limited():
    assert decode(*encode(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    with pytest.raises(ValueError, match="nested more than 100 levels"):
        encode(nested(MAX_DEPTH + 1))
    with pytest.raises(ValueError, match="nested more than 100 levels"):
        decode(nested(MAX_DEPTH + 1), [])
    circle = {}
    circle["a"] = circle
    with pytest.raises(ValueError, match="nested more than 100 levels"):
        encode(circle)


@pytest.mark.parametrize(
    "tree",
    [
        {"$array": 1},
        {"$array": -1},
        {"$array": True},
        {"$array": "0"},
        {"$array": 0, "a": 1},
        {"$unknown": 1},
        {"$float": "7ff"},
        {"$float": 3},
        {"$float": "zz"},
        {"$int": "12"},
        {"$int": " 0x1"},
        {"$int": "0x" + "_"},
        {"$text": "ff"},
        {"$text": ["61"]},
        {"$pairs": {"a": 1}},
        {"$pairs": [["a"]]},
        {"$pairs": [["a", 1], ["a", 2]]},
        {"$pairs": [[1, 1]]},
        {"$pairs": [[["a"], 1]]},
    ],
)
def test_trees_that_nobody_encoded(tree):
    with pytest.raises(ValueError, match=r"\S"):
        decode([tree], [np.zeros(1)])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_names_of_types(dtype):
    assert dtype_of(name_of(dtype)) == dtype


@pytest.mark.parametrize(
    "name",
    [
        *(
            "O",
            "|O",
            "<f3",
            "<U999999999",
            "V3",
            "f4",
            "float32",
            "<f4,<f4",
            "(2,)<f4",
            "",
            3,
            None,
        ),
        *([], "<M8[xx]", "|S0", "finfo", "iinfo", "__doc__", "{'names': ['a'], 'formats': ['O']}"),
    ],
)
def test_names_that_are_no_types(name):
    with pytest.raises(ValueError, match=r"\S"):
        dtype_of(name)
