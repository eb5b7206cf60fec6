"""Started by `bench evaluate`: an evaluation of ResNet-20 by this package or Keras, timed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

import hvd_imgcls.keras as hvd
from hvd_imgcls import distributed
from hvd_imgcls.bench.comparisons.training_rate import SECTIONS
from hvd_imgcls.config import parse_config
from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.sources.base import ArraySource
from hvd_imgcls.models import build_model
from hvd_imgcls.plan import make_evaluation_plan, share_cores
from hvd_imgcls.workflows.evaluate import EvaluationOptions, evaluate_model
from hvd_imgcls.workflows.startup.ranks import Ranks
from hvd_imgcls.workflows.trained_model.test_time_augmentation import make_predict

NUM_EXAMPLES, NUM_CLASSES, IMAGE_SHAPE, BLOCK_SIZE = 4096, 10, (32, 32, 3), 128
NUM_TURNS = 4
_PIPELINE = f"""
data: {{source: {{name: digits}}}}
model: {{name: resnet20}}
optimizer: {{name: sgd}}
schedule: {{name: constant, base_learning_rate: 0.1}}
train: {{global_batch_size: 8, num_epochs: 2}}
evaluation: {{block_size: {BLOCK_SIZE}}}
"""


class RandomImages(ArraySource):
    """Random images and labels, the same in all processes."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._images = random.integers(0, 256, (NUM_EXAMPLES, *IMAGE_SHAPE), dtype=np.uint8)
        self._labels = random.integers(0, NUM_CLASSES, NUM_EXAMPLES)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return IMAGE_SHAPE

    @property
    def class_names(self) -> Sequence[str]:
        """Numbers."""
        return [str(number) for number in range(NUM_CLASSES)]

    @property
    def notes(self) -> Sequence[str]:
        """None."""
        return ()

    @property
    def fingerprint(self) -> str:
        """Not used."""
        return "random"

    def num_examples(self, split: Split) -> int:
        """Returns the number of images."""
        return NUM_EXAMPLES

    def labels(self, split: Split) -> Numbers:
        """Returns the labels, `[examples]`."""
        return self._labels

    def name_of(self, split: Split, example: int) -> str:
        """Returns the example number."""
        return str(example)

    def images(self, split: Split) -> npt.NDArray[np.uint8]:
        """Returns the images."""
        return self._images


def main(words: list[str]) -> None:
    """Evaluates repeatedly and writes the duration of each but the first."""
    result, arm, precision, threads = words
    ranks = distributed.start()
    distributed.devices.configure(
        intra_op_threads=int(threads), inter_op_threads=2, local_rank=ranks.topology.local_rank
    )
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(0)
    model = build_model(SECTIONS["resnet20"], IMAGE_SHAPE, NUM_CLASSES)
    evaluate = (_ours if arm == "ours" else _keras)(model, ranks, int(threads))
    seconds = []
    for _ in range(NUM_TURNS + 1):
        ranks.barrier()
        begin = time.perf_counter()
        evaluate()
        seconds.append(time.perf_counter() - begin)
    if ranks.topology.is_root:
        Path(result).write_text(json.dumps(seconds[1:]), encoding="utf-8")
    ranks.barrier()


def _ours(model: keras.Model, ranks: distributed.Collectives, threads: int) -> Callable[[], Any]:
    hvd.accelerate(model)
    source, config = RandomImages(), parse_config(_PIPELINE, [], origin="bench")
    plan = make_evaluation_plan(
        config, num_examples=NUM_EXAMPLES, size=ranks.topology.size, hosts=None
    )
    predict = make_predict(model, "one")
    return lambda: evaluate_model(
        predict,
        source,
        config,
        plan,
        ranks=Ranks(collectives=ranks, threads=share_cores(threads, 1)),
        options=EvaluationOptions(with_intervals=False),
    )


def _keras(model: keras.Model, ranks: distributed.Collectives, threads: int) -> Callable[[], Any]:
    """Keras's own: only mean loss and accuracy, which is less than ours computes."""
    source = RandomImages()
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    dataset = (
        tf.data.Dataset.from_tensor_slices((source.images("held_out"), source.labels("held_out")))
        .batch(BLOCK_SIZE)
        .prefetch(2)
    )
    return lambda: model.evaluate(dataset, verbose=0)


if __name__ == "__main__":
    main(sys.argv[1:])
