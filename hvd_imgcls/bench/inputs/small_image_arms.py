"""The arms of row c of `bench input`: small images augmented in batches, or one by one.

    python -m hvd_imgcls.bench.inputs.small_image_arms CORE ARM

Both yield normalised float32 batches of 256 with targets: random crop with 4 pixels of padding,
flip, cutout of 16 pixels.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from hvd_imgcls.bench.inputs.synthetic_runs import SyntheticImages, plan_of
from hvd_imgcls.bench.measuring.window import Turns

BATCH_SIZE = 256
_MEAN, _DEVIATION = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)

_PIPELINE = f"""
data: {{source: {{name: digits}}}}
augment:
  - {{name: random_crop, padding: 4}}
  - {{name: random_flip}}
  - {{name: cutout, size: 16}}
model: {{name: small_cnn}}
optimizer: {{name: sgd}}
schedule: {{name: constant, base_learning_rate: 0.1}}
train: {{global_batch_size: {BATCH_SIZE}, num_epochs: 1000000}}
"""


def in_batches() -> Callable[[], int]:
    """Returns a function that takes batches from our dataset, normalised by a compiled map."""
    import tensorflow as tf

    from hvd_imgcls.config import parse_config
    from hvd_imgcls.data.pipeline.dataset import training_dataset

    source = SyntheticImages()
    config = parse_config(_PIPELINE, origin="the benchmark")

    @tf.function(jit_compile=True, autograph=False)
    def normalise(images: tf.Tensor) -> tf.Tensor:
        return (tf.cast(images, tf.float32) - _MEAN) * [1 / one for one in _DEVIATION]

    dataset = training_dataset(source, config, plan_of(source, config), rank=0)
    batches = iter(dataset.map(lambda images, targets, _: (normalise(images), targets)))
    return _taking(batches, 1_000)


def one_by_one() -> Callable[[], int]:
    """Returns a function that takes batches from a dataset as in TensorFlow's tutorial.

    https://www.tensorflow.org/tutorials/images/data_augmentation, with `tf.image.stateless_*`
    and seeds from a counter. It does not shuffle, whereas ours does.
    """
    import tensorflow as tf

    source = SyntheticImages()
    images, labels = source.images("train"), source.labels("train")
    rows, columns = tf.range(32)[:, tf.newaxis], tf.range(32)[tf.newaxis, :]

    def augment(pair: tuple[tf.Tensor, tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, label = pair
        # The cheapest variants: `tf.random.split` and `resize_with_crop_or_pad` take longer.
        image = tf.pad(image, [[4, 4], [4, 4], [0, 0]])
        image = tf.image.stateless_random_crop(image, [32, 32, 3], seed)
        image = tf.image.stateless_random_flip_left_right(image, tf.add(seed, [0, 1]))
        centre = tf.random.stateless_uniform([2], tf.add(seed, [0, 2]), 0, 32, tf.int32)
        inside = (tf.abs(rows - centre[0]) < 8) & (tf.abs(columns - centre[1]) < 8)
        image = tf.where(inside[..., tf.newaxis], tf.zeros([], tf.uint8), image)
        image = (tf.cast(image, tf.float32) - _MEAN) / _DEVIATION
        return image, tf.one_hot(label, 10)

    counter = tf.data.Dataset.counter()
    dataset = tf.data.Dataset.zip(
        (
            tf.data.Dataset.from_tensor_slices((images, labels)).repeat(),
            counter.map(lambda number: tf.stack([number, 0])),
        )
    )
    dataset = dataset.map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(BATCH_SIZE, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
    return _taking(iter(dataset), 100)


def _taking(batches: object, number: int) -> Callable[[], int]:
    def work() -> int:
        for _ in range(number):
            next(batches)  # type: ignore[call-overload]
        return number * BATCH_SIZE

    return work


ARMS = {"in batches": in_batches, "one by one": one_by_one}


def main(words: list[str]) -> None:
    """Runs one arm."""
    turns = Turns(int(words[0]))
    turns.serve(ARMS[words[1]]())


if __name__ == "__main__":
    main(sys.argv[1:])
