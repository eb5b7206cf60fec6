"""Tables of image files: columns, labels, splits, and what is refused."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from hvd_imgcls.config.data.sources import ManifestSource
from hvd_imgcls.data.sources.manifest import open_manifest
from hvd_imgcls.data.sources.subset import _PartOfFiles
from hvd_imgcls.errors import ConfigError, DataError


def write(tmp_path, columns, name="table.parquet", metadata=None):
    table = pa.table(columns).replace_schema_metadata(metadata)
    path = tmp_path / name
    if name.endswith(".csv"):
        pyarrow.csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    return path


def open_table(path, **keywords):
    return open_manifest(ManifestSource(name="manifest", path=str(path), **keywords))


def files_of(source, split):
    return [
        os.path.basename(source.name_of(split, example))
        for example in range(source.num_examples(split))
    ]


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_names_of_classes_become_labels_sorted_by_their_bytes(tmp_path, name):
    path = write(
        tmp_path,
        {
            "path": ["a b.jpg", 'q",.jpg', "é.jpg", "4.jpg"],
            "label": ["dog", "Zebra", "cat", "dog"],
            "split": ["train", "train", "train", "held_out"],
        },
        name,
    )
    source = open_table(path)
    assert source.class_names == ("Zebra", "cat", "dog")
    assert files_of(source, "train") == ["a b.jpg", 'q",.jpg', "é.jpg"]
    assert source.labels("train").tolist() == [2, 0, 1]
    assert source.labels("held_out").tolist() == [2]
    assert source.path_of("held_out", 0) == tmp_path / "4.jpg"
    assert "no held-out image of Zebra and 1 more classes" in source.notes


def test_numbers_in_a_csv_are_labels_and_names_with_zeros_are_names(tmp_path):
    numbers = write(tmp_path, {"path": list("abcd"), "label": list("0121")}, "n.csv")
    assert open_table(numbers, held_out_fraction=0.3).class_names == ("0", "1", "2")
    names = write(tmp_path, {"path": list("abc"), "label": ["01", "10", "2"]}, "z.csv")
    assert open_table(names).class_names == ("01", "10", "2")


def test_without_a_split_column_a_fraction_of_every_class_is_held_out(tmp_path):
    labels = [0, 1] * 50
    path = write(tmp_path, {"path": [f"{i}.jpg" for i in range(100)], "label": labels})
    source = open_table(path, held_out_fraction=0.2)
    assert np.bincount(source.labels("held_out")).tolist() == [10, 10]
    assert not set(files_of(source, "train")) & set(files_of(source, "held_out"))


def test_class_list_comes_from_the_configuration_then_the_file_then_the_names(tmp_path):
    columns = {"path": ["1", "2", "3"], "label": [0, 1, 1], "class_name": ["cat", "dog", "dog"]}
    assert open_table(write(tmp_path, columns)).class_names == ("cat", "dog")
    pinned = {"class_names": '["cat", "dog", "emu"]'}
    path = write(tmp_path, columns, metadata=pinned)
    assert open_table(path).class_names == ("cat", "dog", "emu")
    assert open_table(path, class_names=("x", "y")).class_names == ("x", "y")


def test_a_class_list_that_the_names_of_the_rows_contradict_is_refused(tmp_path):
    columns = {"path": ["1", "2", "3"], "label": [0, 1, 1], "class_name": ["cat", "dog", "dog"]}
    with pytest.raises(DataError, match=r"row 1: label 0 is called 'cat', .* number 1 .*dog, cat"):
        open_table(write(tmp_path, columns), class_names=("dog", "cat"))
    path = write(tmp_path, columns, metadata={"class_names": '["dog", "cat"]'})
    with pytest.raises(DataError, match=r"row 1: label 0 is called 'cat'"):
        open_table(path)


def test_what_check_data_found_bad_is_left_out(tmp_path):
    path = write(
        tmp_path,
        {
            "path": ["1.jpg", "2.jpg", "3.jpg"],
            "path_bytes": pa.array([None, None, b"/x/\xff.jpg"], pa.binary()),
            "label": [0, 1, 1],
            "problem": pa.array([None, "cut off", None], pa.string()),
        },
    )
    source = open_table(path)
    assert source.num_examples("train") + source.num_examples("held_out") == 2
    assert "1 images left out that check-data found to be bad" in source.notes
    names = [source.name_of("train", 0), source.name_of("train", 1)]
    assert names == [str(tmp_path / "1.jpg"), "/x/\\xff.jpg"]


def test_other_values_of_the_split_column_are_left_out_and_said(tmp_path):
    columns = {"path": list("abc"), "label": [0, 0, 0], "fold": ["train", "val", "test"]}
    source = open_table(write(tmp_path, columns), split_column="fold", held_out_value="val")
    assert files_of(source, "held_out") == ["b"]
    assert "1 images left out, with other values in column fold" in source.notes


@pytest.mark.parametrize(
    ("columns", "keywords", "error", "message"),
    [
        ({"file": ["a"], "label": [0]}, {}, ConfigError, "path_column: got 'path'.*file, label"),
        ({"path": ["a"], "class": [0]}, {}, ConfigError, "label_column: got 'label'"),
        (
            {"path": ["a"], "label": [0], "split": ["val"]},
            {},
            ConfigError,
            "train_value: got 'train'.*'val' 1 times",
        ),
        ({"path": list("ab"), "label": [0, 2]}, {}, DataError, "no row has label 1"),
        ({"path": list("ab"), "label": [0, -1]}, {}, DataError, "row 2: got -1, expected 0 or"),
        (
            {"path": list("ab"), "label": [0, 2]},
            {"class_names": ("x", "y")},
            DataError,
            "row 2: got 2, expected 0 to 1",
        ),
        (
            {"path": list("ab"), "label": ["x", "z"]},
            {"class_names": ("x", "y")},
            DataError,
            "row 2: 'z' is not in the class list",
        ),
        ({"path": list("ab"), "label": ["x", None]}, {}, DataError, "row 2: no label"),
        ({"path": ["a", None], "label": [0, 0]}, {}, DataError, "row 2: no path"),
        (
            {"path": ["a", "b", "./a"], "label": [0, 1, 1]},
            {},
            DataError,
            "listed in row 1 and in row 3|listed in row 3 and in row 1",
        ),
        (
            {"path": list("ab"), "label": [0, 0], "class_name": ["cat", "dog"]},
            {},
            DataError,
            "label 0 is called 'cat' in row 1 and 'dog' in row 2",
        ),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, columns, keywords, error, message):
    with pytest.raises(error, match=message):
        open_table(write(tmp_path, columns), **keywords)


def test_a_table_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"data.source.path: got .*no.csv"):
        open_table(tmp_path / "no.csv")
    (tmp_path / "bad.parquet").write_text("path,label\n")
    with pytest.raises(ConfigError, match=r"bad.parquet"):
        open_table(tmp_path / "bad.parquet")
    (tmp_path / "latin.csv").write_bytes("path,label\n\xe9.jpg,0\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin.csv"):
        open_table(tmp_path / "latin.csv")


def test_columns_of_slices_follow_their_images_through_every_view(tmp_path):
    path = write(
        tmp_path,
        {
            "path": list("abcde"),
            "label": ["x", "y", "x", "y", "x"],
            "split": ["held_out", "train", "train", "held_out", "train"],
            "camera": ["old", "new", None, None, "old"],
            "year": [2001, 2002, 2003, 2004, 2005],
        },
    )
    source = open_table(path, slice_columns=("camera", "year"))
    held_out = {"camera": ["old", None], "year": ["2001", "2004"]}
    assert source.columns("held_out") == held_out
    assert source.columns("train")["year"] == ["2002", "2003", "2005"]
    part = _PartOfFiles(source, np.array([0, 2]))
    assert part.columns("held_out") == held_out
    assert part.columns("train") == {"camera": ["new", "old"], "year": ["2002", "2005"]}
    assert open_table(path).columns("held_out") == {}
    assert open_table(path).fingerprint != source.fingerprint


def test_a_column_of_slices_that_is_not_there_is_named(tmp_path):
    path = write(tmp_path, {"path": ["a"], "label": ["x"]})
    with pytest.raises(ConfigError, match=r"slice_columns: got 'camera', expected a column of"):
        open_table(path, slice_columns=("camera",))
