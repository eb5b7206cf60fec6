"""Image files as batches: the same pixels on any number of ranks, threads, and from anywhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest

from hvd_imgcls.config.data.sources import ImageFolderSource
from hvd_imgcls.data import image_shape_of, open_images
from hvd_imgcls.data.bad_examples.unreadable import naming_unreadable_images
from hvd_imgcls.data.order.epoch_order import epoch_order
from hvd_imgcls.data.pipeline.dataset import Start, training_dataset
from hvd_imgcls.data.pipeline.evaluation_dataset import evaluation_dataset
from hvd_imgcls.data.sources.image_folder import open_image_folder
from hvd_imgcls.distributed.single_process import SingleProcessCollectives
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.errors import ConfigError, DataError
from hvd_imgcls.plan import EvaluationPlan, make_plan, share_cores
from hvd_imgcls.workflows.evaluate import evaluate_model
from hvd_imgcls.workflows.prepare import prepare
from hvd_imgcls.workflows.startup.ranks import Ranks
from hvd_imgcls.workflows.trained_model.test_time_augmentation import make_predict
from tests.support.image_streams import CROP, SHIFT, assert_equal, make_config
from tests.unit.data.images import encoded, write_class_folders


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    write_class_folders(root, {"cat": 14, "dog": 16})
    return root


@pytest.fixture(scope="module")
def records(folder, tmp_path_factory):
    source = open_image_folder(ImageFolderSource(name="image_folder", path=str(folder)))
    path = tmp_path_factory.mktemp("prepared") / "records"
    prepare(source, path, examples_per_block=7)
    return path


def stream(config, size=1, num_cores=2, **position):
    """Returns images and targets of all steps, the ranks' parts put together."""
    source = open_images(config)
    plan = make_plan(
        config,
        num_train_examples=source.num_examples("train"),
        num_held_out_examples=source.num_examples("held_out"),
        num_classes=2,
        topology=Topology.on_hosts(0, size, size),
        num_cores=num_cores,
    )
    parts = []
    for rank in range(size):
        dataset = training_dataset(source, config, plan, rank=rank, **position)
        batches = list(dataset.as_numpy_iterator())
        parts.append([np.stack(arrays) for arrays in list(zip(*batches, strict=True))[:2]])
    return [np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True)]


@pytest.mark.parametrize(
    "augment",
    [
        pytest.param((CROP, SHIFT), id="crop", marks=pytest.mark.slow),
        pytest.param((SHIFT,), id="centre"),
    ],
)
def test_any_number_of_ranks_and_threads_and_any_beginning_give_the_same_pixels(
    folder, tmp_path, augment
):
    config = make_config(folder, tmp_path, augment)
    alone = stream(config)
    assert (alone[0].shape, alone[0].dtype) == ((8, 8, 12, 12, 3), np.uint8)
    for size, num_cores in ((2, 1), (4, 8)):
        assert_equal(stream(config, size=size, num_cores=num_cores), alone)
    # 24 training images are 3 steps an epoch.
    rest = stream(config, size=2, start=Start(epoch=1, step=2))
    assert_equal(rest, [array[5:] for array in alone])


@pytest.mark.slow
def test_files_kept_in_memory_give_the_same_pixels(folder, records, tmp_path):
    for path in (folder, records):
        expected = stream(make_config(path, tmp_path))
        assert_equal(stream(make_config(path, tmp_path, cache="encoded"), size=2), expected)


def test_records_give_the_same_pixels_on_any_number_of_ranks_and_from_anywhere(records, tmp_path):
    config = make_config(records, tmp_path)
    alone = stream(config)
    assert_equal(stream(config, size=2, num_cores=4), alone)
    assert_equal(stream(config, start=Start(epoch=1, step=2)), [array[5:] for array in alone])


def test_records_hold_the_pixels_of_their_files(folder, records, tmp_path):
    def seen(path):
        images, targets = stream(make_config(path, tmp_path, ()))
        pairs = zip(images[:3].reshape(24, -1), targets[:3].reshape(24, 2), strict=True)
        return {(image.tobytes(), int(target.argmax())) for image, target in pairs}

    assert len(seen(folder)) == 24
    assert seen(folder) == seen(records)


def test_a_record_that_cannot_be_decoded_is_named(records, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(records, copy)
    config = make_config(copy, tmp_path, (SHIFT,), cache="decoded")
    row = pq.read_table(copy / "train.parquet").to_pylist()[9]
    assert (row["block"], row["position"]) == (1, 2)
    path = copy / "train-00001.tfrecord"
    content = bytearray(path.read_bytes())
    content[row["offset"] : row["offset"] + 4] = b"none"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path}, record 2 .*: cannot be read as an image"):
        open_images(config).images("train")


def test_decoded_images_give_the_same_pixels_as_files(folder, tmp_path):
    expected = stream(make_config(folder, tmp_path, (SHIFT,)))
    assert_equal(stream(make_config(folder, tmp_path, (SHIFT,), cache="decoded")), expected)


def test_a_crop_of_another_epoch_is_another(folder, tmp_path):
    config = make_config(folder, tmp_path, (CROP,))
    images, _ = stream(config)
    first, second = images[:3].reshape(24, -1), images[3:6].reshape(24, -1)
    assert not set(map(bytes, first)) & set(map(bytes, second))


@pytest.mark.parametrize("size", [1, pytest.param(2, marks=pytest.mark.slow), 3])
def test_evaluation_over_all_ranks_holds_every_file_once(folder, tmp_path, size):
    config = make_config(folder, tmp_path)
    source = open_images(config)
    plan = make_plan(
        config,
        num_train_examples=24,
        num_held_out_examples=source.num_examples("held_out"),
        num_classes=2,
        topology=Topology.on_hosts(0, 1, 1),
    ).evaluation
    seen = []
    for rank in range(size):
        dataset = evaluation_dataset(source, config, plan, rank=rank, size=size, num_threads=2)
        for images, targets, weights in dataset.as_numpy_iterator():
            assert images.shape == (4, 12, 12, 3)
            seen += [
                (target.argmax(), image.tobytes())
                for image, target, weight in zip(images, targets, weights, strict=True)
                if weight
            ]
    assert len(seen) == len(set(seen)) == 6
    assert [label for label, _ in sorted(seen)] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("augment", "data", "text"),
    [
        ((), {"image_size": None}, "data.image_size: got None"),
        ((CROP,), {"cache": "decoded"}, "augment.0.name: got 'random_resized_crop'"),
    ],
)
def test_what_does_not_go_with_files_is_refused(folder, tmp_path, augment, data, text):
    with pytest.raises(ConfigError, match=text):
        open_images(make_config(folder, tmp_path, augment, **data))


def test_a_crop_that_is_not_the_first_is_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match="put random_resized_crop first"):
        stream(make_config(folder, tmp_path, (SHIFT, CROP)))


def test_the_shape_is_that_of_the_configuration(folder, tmp_path):
    config = make_config(folder, tmp_path, num_channels=1)
    assert image_shape_of(open_images(config), config) == (12, 12, 1)


def spoil(folder, tmp_path, split, example, content):
    """Returns a configuration of a copy of the folder in which one file is broken, and its name."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    config = make_config(copy, tmp_path)
    name = open_images(config).name_of(split, example)
    Path(name).write_bytes(content)
    return config, name


def train_to_the_end(config):
    source = open_images(config)
    plan = make_plan(
        config,
        num_train_examples=24,
        num_held_out_examples=6,
        num_classes=2,
        topology=Topology.on_hosts(0, 1, 1),
    )
    done = 0
    with naming_unreadable_images(source, config, plan, rank=0, finished_steps=lambda: done):
        for _ in training_dataset(source, config, plan, rank=0):
            done += 1


@pytest.mark.parametrize("cache", ["none", "encoded"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", marks=pytest.mark.slow),
        pytest.param(b"<html>", marks=pytest.mark.slow),
        encoded(".jpg", 3)[:200],
    ],
)
def test_a_broken_training_image_is_named_with_epoch_and_step(folder, tmp_path, content, cache):
    config, name = spoil(folder, tmp_path, "train", 17, content)
    config = make_config(tmp_path / "copy", tmp_path, cache=cache)
    with pytest.raises(DataError) as raised:
        train_to_the_end(config)
    order = epoch_order(24, config.train.seed, 0).tolist()
    assert str(raised.value).startswith(f"{name}: cannot be read as an image (")
    assert str(raised.value).endswith(f"[epoch 1, step {order.index(17) // 8 + 1}]")


def test_an_image_of_more_pixels_than_allowed_is_named(folder, tmp_path):
    train_to_the_end(make_config(folder, tmp_path, max_pixels=24 * 32))
    with pytest.raises(DataError, match="32 x 24 pixels, more than the 767 allowed"):
        train_to_the_end(make_config(folder, tmp_path, max_pixels=24 * 32 - 1))


def test_a_broken_held_out_image_is_named(folder, tmp_path):
    config, name = spoil(folder, tmp_path, "held_out", 4, b"no image")
    source = open_images(config)
    layers = keras.layers
    model = keras.Sequential([keras.Input((12, 12, 3)), layers.Flatten(), layers.Dense(2)])
    plan = EvaluationPlan(num_examples=6, block_size=4, num_steps=2, num_padded_examples=2)
    with pytest.raises(DataError, match=f"{name}: cannot be read as an image"):
        evaluate_model(
            make_predict(model, "one"),
            source,
            config,
            plan,
            ranks=Ranks(collectives=SingleProcessCollectives(), threads=share_cores(1, 1)),
        )


def test_a_broken_image_is_named_when_all_are_decoded_first(folder, tmp_path):
    config, name = spoil(folder, tmp_path, "train", 9, b"")
    config = make_config(tmp_path / "copy", tmp_path, (SHIFT,), cache="decoded")
    with pytest.raises(DataError, match=f"{name}: cannot be read as an image"):
        open_images(config).images("train")
