"""Datasets of TensorFlow Datasets, with a builder that needs no network."""

from __future__ import annotations

import os

os.environ.setdefault("NO_GCE_CHECK", "true")

import numpy as np
import pytest
import tensorflow as tf

from hvd_imgcls.config.data.sources import TfdsSource
from hvd_imgcls.data.sources.digits import Digits
from hvd_imgcls.data.sources.tfds.source import open_tfds
from hvd_imgcls.errors import ConfigError, DataError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module", params=["tfrecord", "array_record"])
def data_dir(request, tmp_path_factory):
    from hvd_imgcls.data.sources.tfds.hvd_digits import write_digits

    path = tmp_path_factory.mktemp(request.param)
    write_digits(path, request.param)
    return path


def open_digits(data_dir, **keywords):
    values = {"dataset": "hvd_digits:1.0.0", "data_dir": str(data_dir), **keywords}
    return open_tfds(TfdsSource(name="tfds", **values))


def decoded(source, split):
    contents = source.make_batch_reader(split)(tf.range(source.num_examples(split), dtype=tf.int64))
    return np.stack([tf.io.decode_png(content).numpy() for content in contents])


def test_the_digits_are_those_of_scikit_learn(data_dir):
    source, expected = open_digits(data_dir), Digits(0.2, 0)
    assert source.class_names == expected.class_names
    for split in ("train", "held_out"):
        images, labels = decoded(source, split), source.labels(split)
        order = np.lexsort([*images.reshape(len(images), -1).T, labels])
        wanted, wanted_labels = expected.images(split), expected.labels(split)
        wanted_order = np.lexsort([*wanted.reshape(len(wanted), -1).T, wanted_labels])
        np.testing.assert_array_equal(images[order], wanted[wanted_order])
        np.testing.assert_array_equal(labels[order], wanted_labels[wanted_order])


def test_without_a_version_the_newest_is_taken(data_dir):
    assert open_digits(data_dir, dataset="hvd_digits").num_examples("held_out") == 359


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"dataset": "cifar10:3.0.2"}, r"data.source.dataset: got 'cifar10:3.0.2'.*tfds build"),
        ({"dataset": "hvd_digits:2.0.0"}, r"hvd_digits has version 1.0.0"),
        ({"held_out_split": "val"}, r"held_out_split: got 'val', expected one of train, test"),
        ({"held_out_split": "train"}, r"held_out_split: got 'train', expected other files"),
        ({"label_key": "y"}, r"label_key: got 'y', expected one of image, label"),
    ],
)
def test_what_is_not_there_is_named(data_dir, keywords, message):
    with pytest.raises(ConfigError, match=message):
        open_digits(data_dir, **keywords)


def test_the_digits_are_written_when_they_are_asked_for(tmp_path):
    source = open_digits(tmp_path / "new")
    assert source.num_examples("train") == 1438
    file = next((tmp_path / "new").glob("hvd_digits/*/*test*-of-*"))
    file.unlink()
    with pytest.raises(DataError, match=f"{file.name}: missing"):
        open_digits(tmp_path / "new")
