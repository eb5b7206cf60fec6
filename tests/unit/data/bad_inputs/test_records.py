"""Group VI: damaged record files. Every error names the file, and the record if there is one."""

from __future__ import annotations

import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hvd_imgcls.config.data.sources import ImageFolderSource
from hvd_imgcls.data.bad_examples.unreadable import find_unreadable
from hvd_imgcls.data.sources.image_folder import open_image_folder
from hvd_imgcls.data.sources.records.reading import Records
from hvd_imgcls.errors import DataError
from hvd_imgcls.workflows.prepare import prepare
from tests.unit.data.bad_inputs.reading import problems_in_training
from tests.unit.data.images import write_class_folders


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("prepared")
    write_class_folders(root / "images", {"a": 9, "b": 8})
    source = open_image_folder(ImageFolderSource(name="image_folder", path=str(root / "images")))
    prepare(source, root / "records", examples_per_block=5)
    return root / "records"


@pytest.fixture
def copy(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "records")


def change_byte(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 0x20
    path.write_bytes(content)


def change_index(path, **columns):
    table = pq.read_table(path)
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        table = table.set_column(place, field, pa.array(values(table), field.type))
    pq.write_table(table, path)


def cut(path):
    path.write_bytes(path.read_bytes()[:-300])


BEFORE_ANYTHING_STARTS = {
    "a missing file": (
        lambda records: (records / "train-00001.tfrecord").unlink(),
        r"train-00001\.tfrecord: No such file or directory; copy it here",
    ),
    "a cut file": (
        lambda records: cut(records / "train-00001.tfrecord"),
        r"train-00001\.tfrecord: .* bytes, but its records need .*; copy it again",
    ),
    "empty file": (
        lambda records: (records / "held_out-00000.tfrecord").write_bytes(b""),
        r"held_out-00000\.tfrecord: 0 bytes, but its records need",
    ),
    "a missing index": (
        lambda records: (records / "train.parquet").unlink(),
        r"train\.parquet: cannot be read \(.*\); prepare the folder again",
    ),
    "a cut index": (
        lambda records: cut(records / "train.parquet"),
        r"train\.parquet: cannot be read \(.*\); prepare the folder again",
    ),
    "the index of the other split": (
        lambda records: shutil.copy(records / "held_out.parquet", records / "train.parquet"),
        r"train\.parquet: 4 rows, expected 13; prepare the folder again",
    ),
    "an index of something else": (
        lambda records: pq.write_table(
            pa.table({"offset": list(range(13))}), records / "train.parquet"
        ),
        r"train\.parquet: not the columns of an index; prepare the folder again",
    ),
    "an index that goes beyond the end": (
        lambda records: change_index(
            records / "train.parquet", offset=lambda table: [10**9] * table.num_rows
        ),
        r"train-00000\.tfrecord: .* bytes, but its records need 1,000,000,",
    ),
    "a label that no class has": (
        lambda records: change_index(
            records / "train.parquet", label=lambda table: [2] * table.num_rows
        ),
        r"train\.parquet: labels from 2 to 2, expected 0 to 1",
    ),
    "a negative label": (
        lambda records: change_index(
            records / "train.parquet", label=lambda table: [-1] * table.num_rows
        ),
        r"train\.parquet: labels from -1 to -1, expected 0 to 1",
    ),
    "no manifest": (
        lambda records: (records / "dataset.json").unlink(),
        r"dataset\.json: cannot be read \(.*No such file",
    ),
    "a cut manifest": (
        lambda records: cut(records / "dataset.json"),
        r"dataset\.json: cannot be read \(",
    ),
}


@pytest.mark.parametrize("name", BEFORE_ANYTHING_STARTS)
def test_what_does_not_fit_together_is_said_before_anything_starts(copy, name):
    damage, text = BEFORE_ANYTHING_STARTS[name]
    damage(copy)
    with pytest.raises(DataError, match=re.escape(str(copy)) + "/" + text):
        Records(copy)


def row_of(copy, example):
    return pq.read_table(copy / "train.parquet").to_pylist()[example]


def test_a_wrong_byte_of_an_image_is_found_though_it_could_be_decoded(copy):
    row = row_of(copy, 7)
    assert (row["block"], row["position"]) == (1, 2)
    # In the scan, near the end: a decoder takes it for another image.
    change_byte(copy / "train-00001.tfrecord", row["offset"] + row["size"] - 40)
    records = Records(copy)
    reasons, left_out = problems_in_training(records)
    assert [number for number, bad in enumerate(left_out) if bad] == [7]
    assert [reason for reason in reasons if reason is not None] == ["empty file"]
    name = f"{copy}/train-00001.tfrecord, record 2 ("
    error = find_unreadable(records, "train", lambda content, *_: content, [(6, 0), (7, 0)])
    assert str(error).startswith(name)
    assert "damaged (its checksum has changed)" in str(error)
    assert "Traceback" not in str(error)
    with pytest.raises(DataError, match=re.escape(name)):
        prepare(records, copy.parent / "again")


def test_a_replaced_file_is_found_at_its_first_record(copy):
    first, second = (copy / f"train-{number:05}.tfrecord" for number in (0, 1))
    second.write_bytes(first.read_bytes() + bytes(1000))
    records = Records(copy)
    reasons, left_out = problems_in_training(records)
    assert [number for number, bad in enumerate(left_out) if bad] == [5, 6, 7, 8, 9]
    assert [bool(reason) for reason in reasons] == left_out


def test_a_file_that_goes_after_the_start_is_named(copy):
    records = Records(copy)
    (copy / "train-00001.tfrecord").unlink()
    error = find_unreadable(records, "train", lambda content, *_: content, [(4, 0), (5, 0)])
    assert str(error).startswith(f"{copy}/train-00001.tfrecord, record 0 (")
    assert "(No such file or directory)" in str(error)


def test_threads_that_open_a_file_at_the_same_time_read_it(prepared):
    """The one whose file the cache did not keep used to read from a closed one."""
    expected = Records(prepared).read("train", np.array([0]))

    def read(records):
        barrier.wait()
        return records.read("train", np.array([0]))

    with ThreadPoolExecutor(8) as pool:
        for _ in range(300):
            barrier, records = threading.Barrier(8), Records(prepared)
            assert list(pool.map(read, [records] * 8)) == [expected] * 8


def test_a_wrong_length_in_a_file_does_no_harm(copy):
    """The index says where images are: nothing else in the files is read."""
    path = copy / "train-00000.tfrecord"
    before = Records(copy).read("train", Records(copy).labels("train") * 0)
    for place in range(12):  # the length of the first record and its checksum
        change_byte(path, place)
    assert Records(copy).read("train", Records(copy).labels("train") * 0) == before
    assert problems_in_training(Records(copy))[1] == [False] * 13
