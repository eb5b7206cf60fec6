import numpy as np
import pytest

from hvd_imgcls.config import augmentations as sections
from hvd_imgcls.data.augment import make_augment
from hvd_imgcls.errors import ConfigError

from .batches import augmented_images, random_batch

CROP = sections.RandomCrop(name="random_crop")
MIXUP = sections.Mixup(name="mixup")
COLOUR_JITTER = sections.ColourJitter(name="colour_jitter", hue=0.1)


def test_no_augmentation_gives_the_batch_back():
    batch = random_batch(2)
    assert make_augment((), seed=0, image_shape=(9, 12, 3))(batch) is batch


@pytest.mark.parametrize(
    ("part", "key"),
    [
        (sections.RandomCrop(name="random_crop", padding=9), "padding"),
        (sections.Cutout(name="cutout", size=10), "size"),
        (sections.RandomResizedCrop(name="random_resized_crop"), "name"),
        (sections.RandomGreyscale(name="random_greyscale"), "name"),
        (COLOUR_JITTER, "hue"),
        (sections.ColourJitter(name="colour_jitter", saturation=0.1), "saturation"),
    ],
)
@pytest.mark.parametrize("first_index", [0, 1])
def test_an_augmentation_that_does_not_fit_names_its_key(part, key, first_index):
    with pytest.raises(ConfigError) as raised:
        make_augment((CROP, part), seed=0, image_shape=(9, 12, 1), first_index=first_index)
    assert raised.value.key == f"augment.{first_index + 1}.{key}"


@pytest.mark.parametrize("part", [MIXUP, sections.Cutmix(name="cutmix")])
def test_mixing_an_odd_batch_names_the_batch_size(part):
    with pytest.raises(ConfigError) as raised:
        augmented_images(random_batch(5), part)
    assert raised.value.key == "train.global_batch_size"


def test_equal_augmentations_draw_their_own_numbers():
    batch = random_batch(40)
    flip = sections.RandomFlip(name="random_flip")
    once, twice = augmented_images(batch, flip), augmented_images(batch, flip, flip)
    flipped_once = (once != batch.images.numpy()).any(axis=(1, 2, 3))
    flipped_both = (twice == batch.images.numpy()).all(axis=(1, 2, 3))
    # With the same numbers for both every image would be as it was.
    assert 5 < flipped_once.sum() < 35
    assert 5 < flipped_both.sum() < 35


def test_the_rest_of_a_list_is_changed_as_in_the_whole_list():
    batch = random_batch(10)
    nothing = sections.RandomFlip(name="random_flip", probability=0.0)
    whole = augmented_images(batch, nothing, CROP)
    augment = make_augment((CROP,), seed=1, image_shape=(9, 12, 3), first_index=1)
    np.testing.assert_array_equal(augment(batch).images, whole)
    assert not np.array_equal(augmented_images(batch, CROP), whole)
