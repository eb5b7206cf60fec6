"""Targets of few classes are those of all classes."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from hvd_imgcls.config.augmentations import Cutmix, Mixup
from hvd_imgcls.data.augment import Batch, make_augment
from hvd_imgcls.data.pipeline.dataset import training_dataset
from hvd_imgcls.data.pipeline.targets import FewClasses, OneHot
from hvd_imgcls.data.sources.digits import Digits
from tests.support.digits_plans import plan_of

MIXING = [Mixup(name="mixup", alpha=0.5), Cutmix(name="cutmix", alpha=1.0)]


def assembled(targets, labels, parts, seed):
    augment = make_augment(parts, seed=seed, image_shape=(4, 4, 1))
    batch = augment(
        Batch(
            images=tf.zeros([len(labels), 4, 4, 1], tf.uint8),
            targets=targets.begin(labels),
            examples=tf.range(len(labels), dtype=tf.int64),
            epoch=tf.constant(1, tf.int64),
        )
    )
    return batch.targets, targets.finish(batch.targets, labels)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.integers(0, 99), st.booleans())
def test_few_classes_are_the_same_targets(halves, seed, mixes):
    labels = tf.constant([*halves, *reversed(halves)], tf.int64)
    parts = MIXING if mixes else []
    few, dense = FewClasses(5, mixes=mixes), OneHot(5)
    mixed, targets = assembled(few, labels, parts, seed)
    mixed_of_all, expected = assembled(dense, labels, parts, seed)
    assert targets.shape[1] == (4 if mixes else 2)
    np.testing.assert_allclose(few.one_hot(targets), expected, atol=1e-6)
    weights = tf.constant([0.5, 1.0, 2.0, 3.0, 0.25])
    np.testing.assert_allclose(
        few.class_weight(mixed, labels, weights),
        dense.class_weight(mixed_of_all, labels, weights),
        rtol=1e-6,
    )


def test_they_need_no_memory_for_other_classes():
    targets = FewClasses(10**7, mixes=True)
    labels = tf.constant([9_999_999, 3], tf.int64)
    finished = targets.finish(targets.begin(labels), labels)
    np.testing.assert_array_equal(finished, [[1, 0, 9_999_999, 3], [0, 1, 9_999_999, 3]])


def test_the_dataset_has_them_if_the_last_layer_is_divided():
    options = ("--augment=[{name: mixup}]", "--train.class_weights=balanced")
    source, batches = Digits(0.2, 0), []
    for head in ("dense", "class_sharded"):
        config, plan = plan_of(*options, f"--model.head={head}")
        batches.append(next(iter(training_dataset(source, config, plan, rank=0))))
    (images, dense, weights), (same_images, few, same_weights) = batches
    np.testing.assert_array_equal(images, same_images)
    assert few.shape == (64, 4)
    np.testing.assert_allclose(FewClasses(10, mixes=True).one_hot(few), dense, atol=1e-6)
    np.testing.assert_allclose(weights, same_weights, rtol=1e-6)
