"""Some training images with labels: a source that numbers them from 0."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.config import load_config
from hvd_imgcls.data import open_images
from hvd_imgcls.data.bad_examples.unreadable import why_left_out
from hvd_imgcls.data.pipeline.dataset import training_dataset
from hvd_imgcls.data.sources.subset import choose_labelled, labelled_part
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.plan import make_plan
from tests.support.image_streams import SHIFT, make_config
from tests.unit.data.images import write_class_folders


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.floats(0.01, 1.0),
    st.integers(0, 2**32 - 1),
)
def test_choice_has_every_class_and_grows_with_the_fraction(labels, fraction, seed):
    labels = np.array(labels, np.int64)
    chosen = choose_labelled(labels, fraction, seed)
    assert (np.diff(chosen) > 0).all()
    for label in set(labels.tolist()):
        count = int((labels == label).sum())
        assert (labels[chosen] == label).sum() == max(1, round(count * fraction))
    assert set(chosen.tolist()) <= set(choose_labelled(labels, 1.0, seed).tolist())
    larger = choose_labelled(labels, min(1.0, fraction * 1.5), seed)
    assert set(chosen.tolist()) <= set(larger.tolist())


@pytest.fixture(scope="module")
def config():
    return load_config(
        "pipelines/digits_cnn.yaml",
        ["--data.labelled_fraction=0.1", "--train.global_batch_size=16", "--augment=[]"],
    )


def test_images_and_labels_are_those_of_the_chosen_examples(config):
    whole = open_images(config)
    part = labelled_part(whole, config)
    chosen = choose_labelled(whole.labels("train"), 0.1, 0)
    np.testing.assert_array_equal(part.images("train"), whole.images("train")[chosen])
    np.testing.assert_array_equal(part.labels("train"), whole.labels("train")[chosen])
    np.testing.assert_array_equal(part.images("held_out"), whole.images("held_out"))
    assert part.name_of("train", 3) == whole.name_of("train", int(chosen[3]))
    assert part.fingerprint != whole.fingerprint
    all_of_them = dataclasses.replace(
        config, data=dataclasses.replace(config.data, labelled_fraction=1.0)
    )
    assert labelled_part(whole, all_of_them) is whole


def test_training_sees_them_alone(config):
    part = labelled_part(open_images(config), config)
    plan = make_plan(
        config,
        num_train_examples=part.num_examples("train"),
        num_held_out_examples=10,
        num_classes=10,
        topology=Topology.on_hosts(0, 1, 1),
        num_cores=1,
    )
    images, targets, _ = next(training_dataset(part, config, plan, rank=0).as_numpy_iterator())
    by_pixels = {
        image.tobytes(): label
        for image, label in zip(part.images("train"), part.labels("train"), strict=True)
    }
    assert [by_pixels[image.tobytes()] for image in images] == targets.argmax(-1).tolist()


def test_a_bad_image_of_a_decoded_part_is_explained(tmp_path):
    write_class_folders(tmp_path / "images", {"cat": 20, "dog": 20}, ".png")
    config = make_config(
        tmp_path / "images",
        tmp_path,
        (SHIFT,),
        cache="decoded",
        labelled_fraction=0.5,
        bad_examples="quarantine",
    )
    part = labelled_part(open_images(config), config)
    bad = part.name_of("train", 2)
    Path(bad).write_bytes(b"no image")
    assert part.unreadable("train").tolist() == [2]
    assert part.encoded.name_of("train", 2) == bad
    (reason,) = why_left_out(part, config, "train", [(2, 0)])
    assert reason.startswith("unknown image format")
