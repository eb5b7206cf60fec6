"""TFRecord files that others wrote: what is read, and what is refused with its record."""

from __future__ import annotations

import gzip
import os
import struct

import numpy as np
import pytest
import tensorflow as tf

from hvd_imgcls.config.data.sources import TfRecordSource
from hvd_imgcls.data.sources.tfrecord.source import open_tfrecord
from hvd_imgcls.errors import ConfigError, DataError


def feature_of(value):
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    if isinstance(value, float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    values = value if isinstance(value, list) else [value]
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def example_of(image, label, **others):
    features = {"image/encoded": image, "image/class/label": label, **others}
    features = {key: feature_of(value) for key, value in features.items() if value is not None}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write(path, examples):
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            writer.write(example)


def image_of(number):
    return tf.io.encode_png(np.full((4, 5, 3), number, np.uint8)).numpy()


def write_good(folder, first_label=0, num_shards=2, **others):
    """Writes 6 training images in shards, of 3 classes, and 3 held-out images."""
    for shard in range(num_shards):
        examples = [
            example_of(image_of(n), n % 3 + first_label, **others)
            for n in range(shard, 6, num_shards)
        ]
        write(folder / f"train-{shard:05}-of-{num_shards:05}", examples)
    held_out = [example_of(image_of(100 + n), n + first_label, **others) for n in range(3)]
    write(folder / "validation-00000-of-00001", held_out)


def open_files(folder, **keywords):
    return open_tfrecord(TfRecordSource(name="tfrecord", path=str(folder), **keywords))


def test_images_labels_and_names_of_records(tmp_path):
    write_good(tmp_path)
    source = open_files(tmp_path)
    assert source.class_names == ("0", "1", "2")
    assert source.labels("train").tolist() == [0, 2, 1, 1, 0, 2]
    assert source.read("train", np.array([3, 0])) == [image_of(1), image_of(0)]
    assert source.read("held_out", np.array([2])) == [image_of(102)]
    assert source.name_of("train", 4) == f"{tmp_path}/train-00001-of-00002, record 1"
    read = source.make_batch_reader("train")
    assert read(tf.constant([5, 1], tf.int64)).numpy().tolist() == [image_of(5), image_of(2)]


def write_named(folder, train, held_out):
    """Writes one record per name, with ascending labels."""
    for split, names in (("train", train), ("validation", held_out)):
        examples = [
            example_of(image_of(n + 50 * (split == "train")), n, **{"image/class/text": name})
            for n, name in enumerate(names)
        ]
        write(folder / f"{split}-00000-of-00001", examples)


@pytest.mark.parametrize(
    ("train", "held_out", "names", "said"),
    [
        ([b"cat", b"dog"], [b"dog", b"cat"], None, r"validation.*record 0: .*'dog', but .*'cat'"),
        ([b"cat", b"dog"], [b"cat", b"wolf"], None, r"validation.*record 1: .*'wolf', but .*'dog'"),
        ([b"cat", b"cat"], [b"cat"], None, "'cat' for several labels"),
        ([b"cat", b"dog"], [b"cat"], "dog\ncat\n", r"train.*record 0: .*'cat', but .*'dog'"),
        ([b"cat", b"dog"], [b"cat"], "dog\r\ndog\r\n", "'dog' in lines 1 and 2"),
    ],
)
def test_names_that_contradict_each_other_are_refused(tmp_path, train, held_out, names, said):
    write_named(tmp_path, train, held_out)
    options = {}
    if names is not None:
        (tmp_path / "names.txt").write_text(names)
        options = {"class_names_file": str(tmp_path / "names.txt")}
    with pytest.raises((ConfigError, DataError), match=said):
        open_files(tmp_path, **options)


def test_a_list_may_rename_the_classes_and_be_written_by_any_editor(tmp_path):
    write_named(tmp_path, [b"n01", b"n02"], [b"n01"])
    (tmp_path / "names.txt").write_bytes(b"\xef\xbb\xbfcat\r\ndog \r\n\r\n")
    source = open_files(tmp_path, class_names_file=str(tmp_path / "names.txt"))
    assert source.class_names == ("cat", "dog")


def test_the_index_is_made_once_and_again_when_a_file_changes(tmp_path):
    write_good(tmp_path)
    first = open_files(tmp_path)
    files = sorted((tmp_path / ".hvd-imgcls-index").glob("*.parquet"))
    assert len(files) == 3
    stamps = [file.stat().st_mtime_ns for file in files]
    assert open_files(tmp_path).fingerprint == first.fingerprint
    assert [file.stat().st_mtime_ns for file in files] == stamps
    write(tmp_path / "validation-00000-of-00001", [example_of(image_of(7), 1)])
    changed = open_files(tmp_path)
    assert changed.read("held_out", np.array([0])) == [image_of(7)]
    assert changed.fingerprint != first.fingerprint


def test_labels_from_1_and_names_from_the_records_or_a_file(tmp_path):
    write_good(tmp_path, first_label=1)
    with pytest.raises(DataError, match=r"no training record has label 0.*first_label"):
        open_files(tmp_path)
    source = open_files(tmp_path, first_label=1)
    assert source.labels("held_out").tolist() == [0, 1, 2]
    (tmp_path / "names.txt").write_text("cat\ndog\nemu\n")
    named = open_files(tmp_path, first_label=1, class_names_file=str(tmp_path / "names.txt"))
    assert named.class_names == ("cat", "dog", "emu")


def test_names_of_classes_from_the_records(tmp_path):
    examples = [
        example_of(image_of(n), n % 2, **{"image/class/text": [b"cat", b"dog"][n % 2]})
        for n in range(4)
    ]
    write(tmp_path / "train-0", examples)
    write(tmp_path / "validation-0", examples[:1])
    source = open_files(tmp_path)
    assert source.class_names == ("cat", "dog")
    # The first training image is a held-out image too.
    assert source.notes == ["1 images are in both splits"]


def damage(path, position, value=None):
    content = bytearray(path.read_bytes())
    if value is None:
        content[position] ^= 0xFF
    else:
        content[position : position + len(value)] = value
    path.write_bytes(content)


def second_record(path):
    (length,) = struct.unpack_from("<Q", path.read_bytes())
    return 12 + length + 4


BAD_BYTES = {
    "not_a_tfrecord": (
        lambda p: p.write_text("<html>no such file</html>"),
        "record 0: truncated, or not",
    ),
    "length_checksum": (lambda p: damage(p, second_record(p) + 8), "record 1: damaged"),
    "data_checksum": (lambda p: damage(p, second_record(p) + 40), "record 1: damaged"),
    "huge_length": (
        lambda p: damage(p, second_record(p), struct.pack("<Q", 2**62)),
        "record 1: truncated",
    ),
    "cut_tail": (lambda p: os.truncate(p, p.stat().st_size - 3), "record 2: truncated"),
    "cut_header": (lambda p: os.truncate(p, second_record(p) + 5), "record 1: truncated"),
    "gzip": (lambda p: p.write_bytes(gzip.compress(p.read_bytes())), "compressed with gzip"),
}
BAD_RECORDS = {
    "not_an_example": (b"\xff\xff\xff", "record 1: not a tf.train.Example"),
    "no_image": (
        example_of(None, 1),
        "record 1: no feature image/encoded; it has",
    ),
    "no_label": (example_of(b"x", None), "record 1: no feature image/class/label"),
    "label_as_float": (example_of(b"x", 1.0), "record 1: feature image/class/label holds 1 floats"),
    "two_labels": (example_of(b"x", [1, 2]), "record 1: .* holds 2 whole numbers, expected 1"),
    "image_as_number": (example_of(7, 1), "record 1: feature image/encoded holds 1 whole numbers"),
    "empty_image": (example_of(b"", 1), "record 1: feature image/encoded is empty"),
    "negative_label": (example_of(b"x", -1), "record 1: label -1, expected 0 to 0"),
}


@pytest.mark.parametrize("case", BAD_BYTES)
def test_damaged_files_are_named_with_the_record(tmp_path, case):
    write_good(tmp_path, num_shards=2)
    path = tmp_path / "train-00001-of-00002"
    damage_file, message = BAD_BYTES[case]
    damage_file(path)
    with pytest.raises(DataError, match=f"train-00001-of-00002[:,] ?{message}"):
        open_files(tmp_path)


def test_a_shard_may_have_no_records_but_not_all_of_a_split(tmp_path):
    write_good(tmp_path, num_shards=2)
    write(tmp_path / "train-00001-of-00002", [])
    source = open_files(tmp_path)
    assert source.labels("train").tolist() == [0, 2, 1]
    assert source.read("train", np.array([2])) == [image_of(4)]
    assert f"1 files have no records, such as {tmp_path}/train-00001-of-00002" in source.notes
    os.truncate(tmp_path / "validation-00000-of-00001", 0)
    with pytest.raises(DataError, match=r"validation-00000-of-00001: empty file, and no other"):
        open_files(tmp_path)


@pytest.mark.parametrize("case", BAD_RECORDS)
def test_unusable_records_are_named(tmp_path, case):
    serialized, message = BAD_RECORDS[case]
    write(tmp_path / "train-0", [example_of(image_of(0), 0), serialized])
    write(tmp_path / "validation-0", [example_of(image_of(1), 0)])
    with pytest.raises(DataError, match=f"train-0, {message}"):
        open_files(tmp_path)


def test_a_label_that_only_held_out_records_have_is_refused(tmp_path):
    write(tmp_path / "train-0", [example_of(image_of(0), 0)])
    write(tmp_path / "validation-0", [example_of(image_of(1), 1)])
    with pytest.raises(DataError, match=r"validation-0, record 0: label 1, expected 0 to 0"):
        open_files(tmp_path)


def test_a_missing_file_of_a_set_is_named(tmp_path):
    write_good(tmp_path, num_shards=3)
    (tmp_path / "train-00001-of-00003").unlink()
    with pytest.raises(DataError, match=r"train-00001-of-00003: missing, one of 3 shards"):
        open_files(tmp_path)


def test_patterns_without_files_or_with_the_same_files_are_refused(tmp_path):
    write_good(tmp_path)
    with pytest.raises(ConfigError, match=r"held_out_files: got 'test-\*'"):
        open_files(tmp_path, held_out_files="test-*")
    with pytest.raises(ConfigError, match=r"held_out_files: .*is in both"):
        open_files(tmp_path, held_out_files="train-*-of-*")


def test_a_record_that_was_cut_after_indexing_is_named_when_it_is_read(tmp_path):
    write_good(tmp_path, num_shards=1)
    source = open_files(tmp_path)
    os.truncate(tmp_path / "train-00000-of-00001", 30)
    with pytest.raises(DataError, match=r"train-00000-of-00001, record 0: damaged"):
        source.read("train", np.array([0]))
