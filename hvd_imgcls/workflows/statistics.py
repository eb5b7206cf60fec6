"""`hvd-imgcls statistics`: channel means and standard deviations of the training images."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np

from hvd_imgcls import distributed, logs
from hvd_imgcls.config import RunConfig, to_tree
from hvd_imgcls.data import ImageSource, image_shape_of
from hvd_imgcls.data.order.epoch_order import Numbers
from hvd_imgcls.data.pipeline.previews import evaluation_images
from hvd_imgcls.workflows.startup.images import open_run_images, without_cache
from hvd_imgcls.workflows.startup.ranks import join_ranks

logger = logging.getLogger(__name__)

NUM_VALUES, MAX_PIXEL = 256, 255
_BATCH_SIZE = 512
# Enough digits for any use; the underlying counts are exact.
_DIGITS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelStatistics:
    """Statistics of pixel values in 0 to 1, one number per channel.

    Attributes:
        mean: Means.
        standard_deviation: Standard deviations over all pixels of all images.
        num_images: Number of images.
    """

    mean: tuple[float, ...]
    standard_deviation: tuple[float, ...]
    num_images: int


def compute_statistics(
    config: RunConfig, *, verbosity: logs.Verbosity = logs.Verbosity.NORMAL
) -> ChannelStatistics:
    """Computes and prints the statistics of the training images, each read once.

    The images are cropped as for evaluation. Pixel values are counted as integers, so the result
    has the same digits on any number of ranks.

    Collective: every rank must call this with equal arguments.

    Args:
        config: Defines the images and their size.
        verbosity: How much is logged.

    Returns:
        The statistics, the same on all ranks.

    Raises:
        DataError: If an image cannot be decoded.
    """
    # Set up ranks and logging.
    ranks = join_ranks(verbosity)
    collectives, topology = ranks.collectives, ranks.topology
    # Open the data; only this rank's part is decoded, once.
    config = without_cache(config)
    source = open_run_images(config, collectives=collectives).whole
    distributed.agreement.require_same(
        collectives,
        {"configuration": to_tree(config), "data": source.fingerprint},
        "start every rank with the same pipeline file, command line and images",
    )

    # Every rank counts its part, then the counts are summed.
    examples = _examples_of(source, topology.rank, topology.size)
    counts = _count_values(source, config, examples, ranks.threads.data)
    counts = collectives.sum_arrays("statistics", counts)
    statistics = statistics_of(counts, source.num_examples("train"))
    logger.log(logs.RESULT, "%s", describe_statistics(statistics))
    return statistics


def describe_statistics(statistics: ChannelStatistics) -> str:
    """Formats the statistics as a section of a pipeline file."""
    mean, deviation = (
        ", ".join(f"{value:.{_DIGITS}f}" for value in values)
        for values in (statistics.mean, statistics.standard_deviation)
    )
    return (
        f"# of {statistics.num_images:,} training images\n"
        "data:\n"
        "  normalization:\n"
        "    name: statistics\n"
        f"    mean: [{mean}]\n"
        f"    standard_deviation: [{deviation}]"
    )


def _examples_of(source: ImageSource, rank: int, size: int) -> Numbers:
    """Returns the training examples that this rank reads."""
    division = source.division
    if division is None:
        return np.arange(rank, source.num_examples("train"), size)
    per_host = max(1, size // division.num_hosts)
    first = division.position_of(rank) % per_host
    return division.examples_of(rank, size, "train")[first::per_host]


def _count_values(
    source: ImageSource, config: RunConfig, examples: Numbers, num_threads: int
) -> Numbers:
    """Returns how often every pixel value occurs in each channel, `[channels, 256]`, int64."""
    num_channels = image_shape_of(source, config)[2]
    counts = np.zeros((num_channels, NUM_VALUES), np.int64)
    pace, done = logs.Pace(), 0
    for first in range(0, len(examples), _BATCH_SIZE):
        chosen = examples[first : first + _BATCH_SIZE].tolist()
        pixels = evaluation_images(source, config, "train", chosen, num_threads=num_threads)
        for channel in range(num_channels):
            values = pixels[..., channel].ravel()
            counts[channel] += np.bincount(values, minlength=NUM_VALUES)
        done += len(chosen)
        if pace.is_due():
            logger.info("read %s of %s images on this rank", f"{done:,}", f"{len(examples):,}")
    return counts


def statistics_of(counts: Numbers, num_images: int) -> ChannelStatistics:
    """Returns mean and standard deviation from a histogram of pixel values.

    Args:
        counts: Occurrences of every value 0 .. 255 in each channel, `[channels, 256]`.
        num_images: Number of images counted.
    """
    means, deviations = [], []
    for channel in counts.tolist():
        number = sum(channel)
        total = sum(value * count for value, count in enumerate(channel))
        squares = sum(value * value * count for value, count in enumerate(channel))
        # Exact integers up to here, so that the difference does not cancel.
        variance = (number * squares - total * total) / number**2
        means.append(total / number / MAX_PIXEL)
        deviations.append(math.sqrt(variance) / MAX_PIXEL)
    return ChannelStatistics(
        mean=tuple(means), standard_deviation=tuple(deviations), num_images=num_images
    )
