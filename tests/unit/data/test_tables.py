"""One reading of tables: what is missing, and which types libraries write."""

from __future__ import annotations

import decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hvd_imgcls.config.data.placement import Vertical
from hvd_imgcls.config.data.sources import ManifestSource
from hvd_imgcls.data.placement.label_table import read_label_table
from hvd_imgcls.data.sources.manifest import open_manifest
from hvd_imgcls.errors import ConfigError, DataError

NOT_MISSING = ["NA", "N/A", "null", "NULL", "nan", "NaN", "None", "#N/A", "n/a", "-nan"]


def open_table(path, **keywords):
    return open_manifest(ManifestSource(name="manifest", path=str(path), **keywords))


def open_columns(tmp_path, columns, **keywords):
    count = len(next(iter(columns.values())))
    table = pa.table({"path": [f"{n}.jpg" for n in range(count)], **columns})
    pq.write_table(table, tmp_path / "t.parquet")
    return open_table(tmp_path / "t.parquet", **keywords)


def labels_of(source):
    pairs = [
        (source.id_of(split, n), source.class_names[label])
        for split in ("train", "held_out")
        for n, label in enumerate(source.labels(split).tolist())
    ]
    return [label for _, label in sorted(pairs)]


def test_only_what_is_empty_is_missing_in_a_csv(tmp_path):
    path = tmp_path / "t.csv"
    rows = [f"{n}.jpg,{name},{name}\n" for n, name in enumerate(NOT_MISSING)]
    path.write_bytes(b"\xef\xbb\xbf" + "".join(["path,label,country\n", *rows]).encode())
    source = open_table(path, slice_columns=("country",))
    assert labels_of(source) == NOT_MISSING
    assert sorted(source.columns("train")["country"]) == sorted(NOT_MISSING)
    path.write_text("path,label,country\r\na.jpg,x,\r\nb.jpg,x,Ō\r\n")
    assert open_table(path, slice_columns=("country",)).columns("train")["country"] in (
        [None],
        ["Ō"],
    )
    for empty in ("", '""'):
        path.write_text(f"path,label\na.jpg,x\nb.jpg,{empty}\n")
        with pytest.raises(DataError, match="row 2: no label"):
            open_table(path)


def test_labels_of_a_table_next_to_the_images_are_read_alike(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("path,label\na.jpg,NA\nb.jpg,null\n")
    config = Vertical(name="vertical", table=str(path))
    assert read_label_table(config)[0] == ("NA", "null")
    path.write_text("path,label\na.jpg,x\n,y\n")
    with pytest.raises(DataError, match="row 2: no image name"):
        read_label_table(config)


TEXT = {
    "string": pa.string(),
    "large string": pa.large_string(),
    "string view": pa.string_view(),
    "categorical": pa.dictionary(pa.int8(), pa.string()),
    "categorical of large strings": pa.dictionary(pa.int32(), pa.large_string()),
}


@pytest.mark.parametrize("name", TEXT)
def test_text_may_have_any_type_of_text(tmp_path, name):
    columns = {
        "path": pa.array(["0.jpg", "1.jpg", "2.jpg", "3.jpg"], pa.large_string()),
        "label": pa.array(["dog", "cat", "dog", "cat"]).cast(TEXT[name]),
        "camera": pa.array(["old", None, "new", ""]).cast(TEXT[name]),
        "split": pa.array(["train", "train", "train", "held_out"]).cast(TEXT[name]),
        "path_bytes": pa.array([None] * 4, pa.large_binary()),
        "problem": pa.array([None, "cut off", None, None], pa.string()).cast(TEXT[name]),
    }
    source = open_columns(tmp_path, columns, slice_columns=("camera",))
    assert source.class_names == ("cat", "dog")
    assert source.labels("train").tolist() == [1, 1]
    assert source.columns("train")["camera"] == ["old", "new"]


NUMBERS = {
    "int8": pa.array([0, 1, 2], pa.int8()),
    "uint64": pa.array([0, 1, 2], pa.uint64()),
    "floats that are whole": pa.array([0.0, 1.0, 2.0]),
    "float32": pa.array([0.0, 1.0, 2.0], pa.float32()),
    "float16": pa.array([0.0, 1.0, 2.0], pa.float16()),
    "decimals": pa.array([decimal.Decimal(n) for n in range(3)], pa.decimal128(5, 1)),
    "categorical": pa.array([0, 1, 2]).cast(pa.int64()).dictionary_encode(),
    "text": pa.array(["0", "1", "2"]),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_may_have_any_type_of_number(tmp_path, name):
    source = open_columns(tmp_path, {"label": NUMBERS[name], "class_name": ["c", "b", "a"]})
    assert source.class_names == ("c", "b", "a")
    assert labels_of(source) == ["c", "b", "a"]


def test_numbers_of_a_slice_are_written_without_a_fraction_if_all_are_whole(tmp_path):
    columns = {"label": ["x", "x", "x"], "year": [2001.0, None, float("nan")], "z": [0.5, 1, None]}
    source = open_columns(tmp_path, columns, slice_columns=("year", "z"), held_out_fraction=0.01)
    values = {n: sorted(map(str, v)) for n, v in _both(source).items()}
    assert values == {"year": ["2001", "None", "None"], "z": ["0.5", "1", "None"]}


def _both(source):
    train, held_out = source.columns("train"), source.columns("held_out")
    return {name: [*train[name], *held_out[name]] for name in train}


def test_rows_without_a_class_name_take_that_of_the_others(tmp_path):
    columns = {"label": [0, 1, 0], "class_name": ["cat", "dog", None]}
    assert open_columns(tmp_path, columns).class_names == ("cat", "dog")
    columns["class_name"] = pa.array([None] * 3, pa.string())
    assert open_columns(tmp_path, columns).class_names == ("0", "1")


def test_a_column_called_problem_of_another_table_drops_nothing(tmp_path):
    source = open_columns(tmp_path, {"label": ["x", "y"], "problem": ["blurred", None]})
    assert source.num_examples("train") + source.num_examples("held_out") == 2
    assert any("column problem is not used" in note for note in source.notes)


@pytest.mark.parametrize(
    ("columns", "keywords", "said"),
    [
        ({"label": [0.0, float("nan")]}, {}, "row 2: no label"),
        ({"label": pa.array([0, None])}, {}, "row 2: no label"),
        ({"label": ["a", ""]}, {}, "row 2: no label"),
        ({"label": pa.array([None, None])}, {}, "row 1: no label"),
        ({"label": [0.0, 0.5]}, {}, "row 2: got 0.5, expected a class name or a whole number"),
        ({"label": [0.0, float("inf")]}, {}, "row 2: got inf, expected a class name or"),
        ({"label": pa.array([0, 2**63], pa.uint64())}, {}, f"row 2: got {2**63}, expected"),
        ({"label": [["a"], ["b"]]}, {}, r"label: got values of the type list<.*>, expected text"),
        ({"label": [b"a", b"b"]}, {}, "label: got values of the type binary"),
        ({"label": [{"a": 1}, {"a": 2}]}, {}, "values of the type struct"),
        ({"label": ["a", "b"], "x": [[1], [2]]}, {"slice_columns": ("x",)}, "x: got values of"),
        ({"label": [0, 1], "class_name": ["cat", None]}, {}, "label 1 has a class name"),
        ({"label": [0, 1], "class_name": ["cat", "cat"]}, {}, "labels 0 and 1 .* called 'cat'"),
        ({"label": [0, 2 * 10**9], "class_name": ["a", "b"]}, {}, "no row has label 1, .* 2,000"),
        ({"label": ["a", "b"]}, {"class_names": ("a", "b", "a")}, "class_names: got 'a, b, a'"),
        ({"label": pa.array([], pa.string())}, {}, "no rows, expected one per image"),
    ],
)
def test_what_is_no_label_is_named(tmp_path, columns, keywords, said):
    with pytest.raises((ConfigError, DataError), match=said):
        open_columns(tmp_path, columns, **keywords)


def test_a_column_that_is_there_twice_is_named(tmp_path):
    for header in ("path,label,label", "path,path,label"):
        (tmp_path / "t.csv").write_text(f"{header}\na.jpg,b.jpg,x\n")
        with pytest.raises(ConfigError, match=r"got '2 columns (label|path)', expected one"):
            open_table(tmp_path / "t.csv")
    names = ["path", "label", "label"]
    table = pa.Table.from_arrays([pa.array([value]) for value in "axy"], names=names)
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match="2 columns label"):
        open_table(tmp_path / "t.parquet")


@pytest.mark.parametrize("metadata", [b"{", b'"a"', b"[1, 2]", b'["a", "a"]'])
def test_a_damaged_class_list_in_the_file_is_named(tmp_path, metadata):
    table = pa.table({"path": ["a"], "label": ["a"]}).replace_schema_metadata(
        {b"class_names": metadata}
    )
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match="class_names in the metadata"):
        open_table(tmp_path / "t.parquet")
