"""The arms of rows a and b of `bench input`: batches from JPEG files, and bare decoding.

python -m hvd_imgcls.bench.inputs.decoding_arms CORE ARM FOLDER
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hvd_imgcls.bench.inputs.photographs import BATCH_SIZE
from hvd_imgcls.bench.measuring.window import Turns

IMAGE_SIZE = 224
# Images per turn: some seconds of work.
LEAST_IMAGES = 2048
# ImageNet's usual mean and standard deviation.
_MEAN, _DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def images_per_turn(num_files: int) -> int:
    """Returns the images per turn: whole epochs, so that every turn has the same files.

    >>> images_per_turn(320)
    2240
    """
    return -(-LEAST_IMAGES // num_files) * num_files


def bare_decoding(folder: Path) -> Callable[[], int]:
    """Returns a function that decodes the training images from memory with simplejpeg."""
    import simplejpeg

    contents = [path.read_bytes() for path in sorted(folder.glob("train/*/*.jpg"))]
    number = images_per_turn(len(contents))

    def work() -> int:
        for content in itertools.islice(itertools.cycle(contents), number):
            simplejpeg.decode_jpeg(content)
        return number

    return work


def our_batches(folder: Path, *, as_floats: bool) -> Callable[[], int]:
    """Returns a function that takes batches from the training dataset.

    Args:
        folder: Class folders, or record files.
        as_floats: Whether they are normalised in the dataset's last step.
    """
    import tensorflow as tf

    from hvd_imgcls.bench.inputs.synthetic_runs import plan_of
    from hvd_imgcls.config import parse_config
    from hvd_imgcls.data import open_images
    from hvd_imgcls.data.pipeline.dataset import training_dataset

    config = parse_config(_PIPELINE.format(source=_source_of(folder)), origin="the benchmark")
    source = open_images(config)
    dataset = training_dataset(source, config, plan_of(source, config), rank=0)
    if as_floats:

        @tf.function(jit_compile=True, autograph=False)
        def normalise(images: tf.Tensor) -> tf.Tensor:
            return (tf.cast(images, tf.float32) - _MEAN) * [1 / one for one in _DEVIATION]

        dataset = dataset.map(
            lambda images, targets, weights: (normalise(images), targets, weights)
        )
    batches = iter(dataset)
    number = images_per_turn(source.num_examples("train"))

    def work() -> int:
        for _ in range(number // BATCH_SIZE):
            next(batches)
        return number

    return work


def _source_of(folder: Path) -> str:
    """Returns the section `data.source`; JSON is valid YAML."""
    if not (folder / "train").is_dir():
        return json.dumps({"name": "records", "path": str(folder)})
    folders = {"train_folder": "train", "held_out_folder": "held_out"}
    return json.dumps({"name": "image_folder", "path": str(folder), **folders})


_PIPELINE = f"""
data:
  source: {{source}}
  image_size: {IMAGE_SIZE}
augment:
  - name: random_resized_crop
  - name: random_flip
model: {{{{name: small_cnn}}}}
optimizer: {{{{name: sgd}}}}
schedule: {{{{name: constant, base_learning_rate: 0.1}}}}
train: {{{{global_batch_size: {BATCH_SIZE}, num_epochs: 1000000}}}}
"""

ARMS: dict[str, Callable[[Path], Callable[[], int]]] = {
    "simplejpeg": bare_decoding,
    "uint8": lambda folder: our_batches(folder, as_floats=False),
    "float": lambda folder: our_batches(folder, as_floats=True),
}


def main(words: list[str]) -> Any:
    """Runs one arm."""
    turns = Turns(int(words[0]))
    turns.serve(ARMS[words[1]](Path(words[2])))


if __name__ == "__main__":
    main(sys.argv[1:])
