"""Reads files as training does, and says what came of each."""

from __future__ import annotations

import tensorflow as tf

from hvd_imgcls.config import parse_config
from hvd_imgcls.data.bad_examples.unreadable import reason_of
from hvd_imgcls.data.decoding.blanks import load_or_blank
from hvd_imgcls.data.decoding.image_files import load_images, make_training_decoder

SHAPE = (8, 8, 3)

# The whole image is looked at: a centre crop would not miss the end of one that was cut.
PIPELINE = """
data: {source: {name: image_folder, path: unused}, image_size: 8}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 2, num_epochs: 1}
evaluation: {crop_fraction: 1.0}
"""
CONFIG = parse_config(PIPELINE, origin="test")


def problems_in_training(source, split="train"):
    """Returns what training says of every example, None for a good one, and whether quarantine
    leaves it out.

    Args:
        source: An `EncodedSource`.
        split: The split.
    """
    number = source.num_examples(split)
    slots = tf.data.Dataset.range(number).map(lambda example: (example, example, example))
    decode = make_training_decoder(CONFIG, SHAPE)
    arguments = (slots, source, split, decode)
    # After an image that cannot be decoded, the iterator goes on with the next one.
    batches = iter(load_images(*arguments, batch_size=1, num_threads=1))
    reasons = [_reason(batches) for _ in range(number)]
    options = {"image_shape": SHAPE, "batch_size": number, "num_threads": 2}
    ((images, examples, _, is_good),) = load_or_blank(*arguments, **options).as_numpy_iterator()
    assert images.shape == (number, *SHAPE)
    assert examples.tolist() == list(range(number))
    assert not images[~is_good].any()
    return reasons, (~is_good).tolist()


def _reason(batches):
    try:
        next(batches)
    except tf.errors.OpError as error:
        return reason_of(error)
    return None
