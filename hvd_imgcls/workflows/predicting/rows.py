"""Predicts the pieces of work that a rank takes from the queue."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvd_imgcls.config import RunConfig
from hvd_imgcls.data.bad_examples.unreadable import make_explanation
from hvd_imgcls.data.dataset_options import on_own_threads
from hvd_imgcls.data.decoding.blanks import load_or_blank
from hvd_imgcls.data.decoding.image_files import make_evaluation_decoder
from hvd_imgcls.data.sources.file_source import FileSource
from hvd_imgcls.errors import PeerFailedError
from hvd_imgcls.metrics.examples import softmax
from hvd_imgcls.workflows.predicting.job import Job
from hvd_imgcls.workflows.predicting.work_queue import Rows, Worker
from hvd_imgcls.workflows.trained_model.test_time_augmentation import make_predict

# Batches prefetched while the model is busy. More would delay the end on a slow rank.
_PIECES_AHEAD = 1


def predict_pieces(
    job: Job,
    model: keras.Model,
    source: FileSource,
    image_shape: tuple[int, int, int],
    worker: Worker,
    *,
    num_threads: int,
) -> Iterator[tuple[int, Rows]]:
    """Yields pieces with their rows, until none are left.

    Args:
        job: What to predict.
        model: From images to logits.
        source: All images, as held-out images.
        image_shape: Height, width and channels of the model's input images.
        worker: Provides the pieces.
        num_threads: Images decoded in parallel.

    Raises:
        PeerFailedError: If the root, which hands out pieces, is gone.
    """
    piece_size, number = job.piece_size, source.num_examples("held_out")
    config = _for_images(job.config, image_shape)
    predict = make_predict(model, config.evaluation.views)
    # Created once, when the first image cannot be decoded.
    explanation = functools.cache(lambda: make_explanation(source, config, "held_out"))
    failures: list[PeerFailedError] = []

    def taken() -> Iterator[int]:
        try:
            while (piece := worker.take()) is not None:
                yield piece
        except PeerFailedError as error:
            # TensorFlow would replace it with an error of its own.
            failures.append(error)

    for images, examples, places, is_good in pieces_dataset(
        taken, config, source, image_shape, piece_size=piece_size, num_threads=num_threads
    ):
        piece = int(places[0]) // piece_size
        # The last piece is padded with copies of its last image.
        length = min(piece_size, number - piece * piece_size)
        probabilities = softmax(predict(images).numpy())[:length]
        good = is_good.numpy()[:length]
        bad = examples.numpy()[:length][~good].tolist()
        reasons = iter([explanation()(example, 0) for example in bad])
        yield (
            piece,
            [
                _row(of_image, job.top_k) if fine else next(reasons)
                for of_image, fine in zip(probabilities, good, strict=True)
            ],
        )
    if failures:
        raise failures[0]


def pieces_dataset(
    taken: Callable[[], Iterator[int]],
    config: RunConfig,
    source: FileSource,
    image_shape: tuple[int, int, int],
    *,
    piece_size: int,
    num_threads: int,
) -> tf.data.Dataset:
    """Returns the images of pieces, one batch each, as `data.blanks.load_or_blank` does.

    Args:
        taken: Yields the numbers of the pieces.
        config: Defines the preprocessing.
        source: All images, as held-out images.
        image_shape: Height, width and channels of the result.
        piece_size: Images per piece.
        num_threads: Images decoded in parallel.
    """
    pieces = tf.data.Dataset.from_generator(taken, output_signature=tf.TensorSpec([], tf.int64))
    number = source.num_examples("held_out")
    batches = load_or_blank(
        pieces.flat_map(lambda piece: _slots_of(piece, piece_size, number)),
        source,
        "held_out",
        make_evaluation_decoder(config, image_shape),
        image_shape=image_shape,
        batch_size=piece_size,
        num_threads=num_threads,
    )
    return batches.prefetch(_PIECES_AHEAD).with_options(on_own_threads(num_threads))


def _for_images(config: RunConfig, image_shape: tuple[int, int, int]) -> RunConfig:
    """Returns a configuration with the model's image size, which may differ from the pipeline's."""
    num_channels: Literal[1, 3] = 1 if image_shape[2] == 1 else 3
    data = dataclasses.replace(config.data, image_size=image_shape[0], num_channels=num_channels)
    return dataclasses.replace(config, data=data)


def _slots_of(piece: tf.Tensor, piece_size: int, number: int) -> tf.data.Dataset:
    """Returns example number, key and slot of a piece's images."""
    places = piece * piece_size + tf.range(piece_size, dtype=tf.int64)
    examples = tf.minimum(places, number - 1)
    return tf.data.Dataset.from_tensor_slices((examples, tf.zeros_like(places), places))


def _row(probabilities: npt.NDArray[np.float64], top_k: int) -> Any:
    """Returns the most probable classes and their probabilities; ties go to the lower class.

    If the outputs are NaN or infinite, returns an error text instead.
    """
    if not np.isfinite(probabilities).all():
        return "the model's outputs for this image are NaN or infinite"
    order = np.argsort(-probabilities, kind="stable")[:top_k]
    return [order.tolist(), probabilities[order].tolist()]
