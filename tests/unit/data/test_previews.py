"""What is shown of an example is, bit for bit, what the training dataset gives of it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from hvd_imgcls.config import load_config
from hvd_imgcls.data import open_images, open_source
from hvd_imgcls.data.order.positions import rank_rows
from hvd_imgcls.data.pipeline import previews
from hvd_imgcls.data.pipeline.dataset import Start, training_dataset
from hvd_imgcls.data.pipeline.previews import evaluation_images, training_previews
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.errors import ConfigError, DataError
from hvd_imgcls.plan import make_plan
from tests.unit.data.images import write_class_folders

PIPELINE = Path(__file__).parents[3] / "pipelines" / "digits_cnn.yaml"
MIXUP = "--augment=[{name: random_crop, padding: 1}, {name: mixup}]"


def setup(*overrides):
    config = load_config(PIPELINE, ["--schedule.warmup_epochs=0", *overrides])
    source = open_source(config.data.source)
    plan = make_plan(
        config,
        num_train_examples=source.num_examples("train"),
        num_held_out_examples=source.num_examples("held_out"),
        num_classes=len(source.class_names),
        topology=Topology.on_hosts(0, 1, 1),
        num_cores=2,
    )
    return source, config, plan


def seen_in_training(source, config, plan, epoch):
    """Returns image and target of every example of an epoch, from the run's own batches."""
    batches = training_dataset(source, config, plan, rank=0, start=Start(epoch=epoch))
    seen = {}
    rows = rank_rows(plan, rank=0, epoch=epoch).examples
    for row, (images, targets, _) in zip(rows, batches.as_numpy_iterator(), strict=False):
        seen.update(zip(row.tolist(), zip(images, targets, strict=True), strict=True))
    return seen


def require_equal(views, examples, seen):
    for view, example in zip(views, examples, strict=True):
        if example not in seen:
            assert view is None
            continue
        np.testing.assert_array_equal(view.image, seen[example][0])
        np.testing.assert_array_equal(view.target, seen[example][1])


@pytest.fixture
def folder(tmp_path):
    write_class_folders(tmp_path, {"cat": 12, "dog": 12})
    return [
        f"--data={{source: {{name: image_folder, path: {tmp_path}}}, image_size: 16}}",
        "--augment=[{name: random_resized_crop}, {name: random_flip}]",
    ]


def test_views_of_mixed_digits_are_those_of_training():
    size = ("--train.global_batch_size=256", "--train.gradient_accumulation_steps=2")
    source, config, plan = setup(MIXUP, *size, "--train.num_epochs=3")
    examples = [3, 700, 41, 1437, 0]
    views = training_previews(source, config, plan, examples, range(1, 3))
    for epoch, of_epoch in enumerate(views, 1):
        require_equal(of_epoch, examples, seen_in_training(source, config, plan, epoch))
    assert any(0 < view.target.max() < 1 for view in views[0] if view)


@pytest.mark.slow
def test_views_of_cropped_files_in_odd_batches_are_those_of_training(folder):
    source, config, plan = setup(*folder, "--train.global_batch_size=7", "--train.num_epochs=2")
    examples = list(range(source.num_examples("train")))
    views = training_previews(source, config, plan, examples, range(2))
    for epoch, of_epoch in enumerate(views):
        require_equal(of_epoch, examples, seen_in_training(source, config, plan, epoch))
        assert of_epoch.count(None) == len(examples) % 7


def test_views_are_refused_where_training_would_be():
    source, config, plan = setup(MIXUP, "--train.global_batch_size=63")
    with pytest.raises(ConfigError, match="an even number"):
        training_previews(source, config, plan, [0], range(1))


def test_evaluation_images_do_not_wait_for_a_thread_that_tunes(folder, monkeypatch):
    """See `dataset_options`."""
    source, config, _ = setup(*folder, "--train.global_batch_size=4")
    seen, first_of = [], previews._first_of
    monkeypatch.setattr(previews, "_first_of", lambda *of: seen.append(of[0]) or first_of(*of))
    evaluation_images(source, config, "held_out", [1, 0], num_threads=1)
    assert [dataset.options().autotune.enabled for dataset in seen] == [False]


def test_evaluation_images_are_whole_images_of_the_digits():
    source, config, _ = setup()
    images = evaluation_images(source, config, "held_out", [5, 2], num_threads=1)
    np.testing.assert_array_equal(images, source.images("held_out")[[5, 2]])


def test_image_that_cannot_be_read_is_named(folder):
    source, config, plan = setup(*folder, "--train.global_batch_size=4")
    bad = Path(source.name_of("train", 3))
    bad.write_bytes(b"no image")
    with pytest.raises(DataError, match=bad.name):
        evaluation_images(source, config, "train", [0, 3], num_threads=1)
    with pytest.raises(DataError, match=bad.name):
        training_previews(source, config, plan, [0, 3], range(1))


def test_images_that_are_cached_in_training_are_shown_as_they_are_cached(folder):
    source, config, plan = setup(*folder[:1], "--augment=[]", "--train.global_batch_size=4")
    cached = dataclasses.replace(config, data=dataclasses.replace(config.data, cache="decoded"))
    shown = evaluation_images(source, config, "train", [1, 2], num_threads=1)
    np.testing.assert_array_equal(shown, open_images(cached).images("train")[[1, 2]])
    views = training_previews(source, config, plan, [1, 2], range(1))
    np.testing.assert_array_equal(shown, [view.image for view in views[0]])
