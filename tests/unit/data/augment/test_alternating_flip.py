"""A flip that alternates: every image is mirrored in every other epoch."""

import dataclasses
import itertools

import numpy as np
import tensorflow as tf

from hvd_imgcls.config import augmentations as sections

from .batches import augmented_images, random_batch

FLIP = sections.RandomFlip(name="random_flip", alternating=True)
CROP = sections.RandomCrop(name="random_crop", padding=2)


def is_mirrored(batch, epoch):
    images = augmented_images(dataclasses.replace(batch, epoch=tf.constant(epoch, tf.int64)), FLIP)
    same = (images == batch.images.numpy()).all((1, 2, 3))
    mirrored = (images == batch.images.numpy()[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all()
    return mirrored


def test_every_image_is_mirrored_in_every_other_epoch():
    batch = random_batch(200)
    by_epoch = [is_mirrored(batch, epoch) for epoch in range(4)]
    assert 60 < by_epoch[0].sum() < 140
    for one, other in itertools.pairwise(by_epoch):
        np.testing.assert_array_equal(one, ~other)


def test_what_comes_after_it_has_its_own_random_numbers():
    batch = random_batch(40)
    flipped = dataclasses.replace(batch, images=tf.constant(augmented_images(batch, FLIP)))
    together = augmented_images(batch, FLIP, CROP)
    # The crop is the second of the list in both.
    alone = augmented_images(
        flipped, sections.RandomFlip(name="random_flip", probability=0.0), CROP
    )
    np.testing.assert_array_equal(together, alone)
