"""Finds the bad image behind an error of TensorFlow, which names only an operation."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator

import tensorflow as tf

from hvd_imgcls.config import RunConfig
from hvd_imgcls.data.decoding.header_size import plain_reason
from hvd_imgcls.data.decoding.image_files import (
    Decode,
    make_evaluation_decoder,
    make_training_decoder,
)
from hvd_imgcls.data.decoding.jpeg_reasons import jpeg_reason
from hvd_imgcls.data.order import epoch_order
from hvd_imgcls.data.order.positions import crop_key, rank_rows
from hvd_imgcls.data.order.splits import Split
from hvd_imgcls.data.sources.base import EncodedSource, ImageSource
from hvd_imgcls.data.sources.image_shape import image_shape_of
from hvd_imgcls.errors import DataError
from hvd_imgcls.failures import as_peer_failure
from hvd_imgcls.plan import Plan
from hvd_imgcls.plan.allocation import Allocation

# The batch that failed is the next one. But the failing step may already be counted, because the
# optimizer's counter does not wait for the images; one more step in case the counter is behind.
_SUSPECTED_STEPS = (-1, 0, 1)

READ_ERRORS = (tf.errors.OpError, DataError, OSError)
"""Exceptions of eager reading and decoding; the last two come from readers in Python."""


@contextlib.contextmanager
def naming_unreadable_images(
    source: ImageSource,
    config: RunConfig,
    plan: Plan,
    *,
    rank: int,
    finished_steps: Callable[[], int],
    allocation: Allocation | None = None,
) -> Iterator[None]:
    """Context manager that replaces errors of `tf.data` by errors that name the bad image.

    Args:
        source: The images.
        config: Defines the preprocessing.
        plan: The plan of the run.
        rank: This rank.
        finished_steps: Returns the number of completed steps.
        allocation: How the examples are divided over ranks, if not equally.

    Raises:
        DataError: Instead of TensorFlow's error, with the file, the epoch and the step.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if as_peer_failure(error) is not None or not isinstance(source, EncodedSource):
            raise
        decode = make_training_decoder(config, image_shape_of(source, config))
        suspects_of = (finished_steps() + ahead for ahead in _SUSPECTED_STEPS)
        for step in (step for step in suspects_of if 0 <= step < plan.num_steps):
            epoch, step_in_epoch = divmod(step, plan.steps_per_epoch)
            rows = rank_rows(
                plan,
                rank=rank,
                epoch=epoch,
                start_step=step_in_epoch,
                division=source.division,
                allocation=allocation,
            )
            suspects = rows.first(plan.gradient_accumulation_steps)
            keyed = zip(suspects, itertools.repeat(crop_key(plan, epoch)))
            bad = find_unreadable(source, "train", decode, keyed)
            if bad is not None:
                who = f"rank {rank}, " if plan.size > 1 else ""
                raise DataError(f"{bad} [{who}epoch {epoch + 1}, step {step + 1}]") from None
        raise


def name_unreadable_block(
    source: ImageSource, config: RunConfig, block: epoch_order.Numbers, error: tf.errors.OpError
) -> Exception:
    """Returns the error to raise for a block of held-out examples that could not be read.

    Args:
        source: The images.
        config: Defines the preprocessing.
        block: Example numbers, -1 for padding.
        error: Error of the dataset.
    """
    if not isinstance(source, EncodedSource):
        return error
    decode = make_evaluation_decoder(config, image_shape_of(source, config))
    suspects = zip(block[block >= 0].tolist(), itertools.repeat(0))
    return find_unreadable(source, "held_out", decode, suspects) or error


def find_unreadable(
    source: EncodedSource, split: Split, decode: Decode, examples: Iterable[tuple[int, int]]
) -> DataError | None:
    """Reads examples one by one and returns the error for the first bad one.

    Args:
        source: The images.
        split: Split of the examples.
        decode: The decoding function of the dataset.
        examples: Example numbers, each with the key that it was decoded with.
    """
    why = _make_probe(source, split, decode)
    for example, key in examples:
        reason = why(example, key)
        if reason is not None:
            return DataError(
                f"{source.name_of(split, example)}: cannot be read as an image ({reason}); "
                "replace or remove it"
            )
    return None


def why_left_out(
    source: ImageSource, config: RunConfig, split: Split, examples: Iterable[tuple[int, int]]
) -> list[str]:
    """Returns why examples are bad, by reading each again.

    Args:
        source: The images.
        config: Defines the preprocessing.
        split: Split of the examples.
        examples: Example numbers, each with the key that it was decoded with.
    """
    why = make_explanation(source, config, split)
    return [why(*keyed) for keyed in examples]


def make_explanation(
    source: ImageSource, config: RunConfig, split: Split
) -> Callable[[int, int], str]:
    """Returns a function from example number and key to the reason why the example is bad.

    Creating it takes longer for sources with more images: 44 ms for 12,288 files, 424 ms for
    122,880 (2 cores, 2026-11-22).

    Args:
        source: The images.
        config: Defines the preprocessing.
        split: Split of the examples.
    """
    encoded = source.encoded
    if encoded is None:
        raise TypeError(f"{type(source).__name__} has no files that could be bad")
    make = make_training_decoder if split == "train" else make_evaluation_decoder
    why = _make_probe(encoded, split, make(config, image_shape_of(source, config)))
    return lambda example, key: why(example, key) or "could be decoded when it was tried again"


def _make_probe(
    source: EncodedSource, split: Split, decode: Decode
) -> Callable[[int, int], str | None]:
    """Returns a function from example number and key to the reason, None for valid images."""
    read = source.make_reader(split)

    def why(number: int, key: int) -> str | None:
        example = tf.constant(number, tf.int64)
        contents = tf.constant(b"")
        try:
            contents = read(example)
            decode(contents, example, tf.constant(key, tf.int64))
        except READ_ERRORS as error:
            return reason_of(error, contents.numpy())
        return None

    return why


def reason_of(error: tf.errors.OpError | DataError | OSError, content: bytes = b"") -> str:
    """Extracts the reason from a reading or decoding error, without names of operations.

    Outside a graph, exceptions raised by a reader in Python arrive unchanged.

    Args:
        error: The error.
        content: The file, if it was read: TensorFlow does not say why a JPEG is invalid.
    """
    if isinstance(error, OSError):
        return error.strerror or str(error)
    message = str(error) if isinstance(error, DataError) else error.message
    text = re.sub(r"\{\{.*?\}\}\s*", "", message)
    text = re.sub(r"\s*\[Op:.*", "", text, flags=re.DOTALL).strip().splitlines()[0]
    special = re.search(r"/ (an? [a-z ]+, not a regular file); ", text)
    if special is not None:  # from `FileSource.make_reader`
        return special[1]
    if "jpeg" in text.lower():
        return jpeg_reason(content) or plain_reason(text)
    return plain_reason(text).removeprefix("DataError: ")
