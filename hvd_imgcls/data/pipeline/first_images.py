"""Some images as arrays, for statistics and drawings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hvd_imgcls.config import RunConfig
from hvd_imgcls.data.dataset_options import on_own_threads
from hvd_imgcls.data.decoding.image_files import make_evaluation_decoder
from hvd_imgcls.data.order.splits import Split
from hvd_imgcls.data.sources.base import ArraySource, ImageSource
from hvd_imgcls.data.sources.image_shape import image_shape_of


def first_images(
    source: ImageSource,
    config: RunConfig,
    number: int,
    *,
    rank: int,
    size: int,
    split: Split = "train",
) -> npt.NDArray[np.uint8]:
    """Returns the first images that this rank can read, cropped as for evaluation.

    Args:
        source: The images.
        config: Defines the preprocessing.
        number: Maximum number of images.
        rank: This rank.
        size: Number of ranks.
        split: The split to read from.

    Returns:
        `[examples, height, width, channels]`, uint8. Bad images are left out.
    """
    if isinstance(source, ArraySource):
        return source.images(split)[:number]
    import tensorflow as tf

    decode = make_evaluation_decoder(config, image_shape_of(source, config))
    read = source.make_reader(split)
    numbers = np.arange(source.num_examples(split))
    division = source.division
    if division is not None:
        host = division.hosts_of(division.position_of(rank), size)[0]
        numbers = np.sort(division.shares[split][host])
    images = (
        tf.data.Dataset.from_tensor_slices(numbers[:number].astype(np.int64))
        .map(lambda example: decode(read(example), example, example))
        .ignore_errors()
    )
    return np.stack(list(images.with_options(on_own_threads(1)).as_numpy_iterator()))
