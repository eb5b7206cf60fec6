"""`data.cache: encoded`: reads image files once and keeps them in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hvd_imgcls.data.order.splits import Split
from hvd_imgcls.data.sources.base import EncodedSource
from hvd_imgcls.data.sources.wrapper import EncodedWrapper
from hvd_imgcls.logs import Pace

if TYPE_CHECKING:
    import tensorflow as tf

logger = logging.getLogger(__name__)

_BATCH_SIZE = 256


class EncodedImages(EncodedWrapper):
    """Encoded images of another source, in memory from the first read of a split.

    Args:
        source: The images.
        num_threads: Threads that read.
    """

    def __init__(self, source: EncodedSource, num_threads: int) -> None:
        super().__init__(source)
        self._num_threads = num_threads
        self._contents: dict[Split, tf.Tensor] = {}

    def make_batch_reader(self, split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns a function from example numbers `[batch]` to encoded images `[batch]`.

        Files that could not be read become empty strings, which no decoder accepts;
        `make_reader` then reads from the source again for the reason.
        """
        import tensorflow as tf

        if split not in self._contents:
            self._contents[split] = tf.constant(self._read(split))
        contents = self._contents[split]

        def read(examples: tf.Tensor) -> tf.Tensor:
            return tf.gather(contents, examples)

        return read

    def _read(self, split: Split) -> npt.NDArray[np.object_]:
        """Returns all files of a split."""
        import tensorflow as tf

        from hvd_imgcls.data.dataset_options import on_own_threads

        number = self.num_examples(split)
        read_batch, read_one = (
            self._source.make_batch_reader(split),
            self._source.make_reader(split),
        )
        contents = np.full(number, b"", dtype=object)
        numbers = tf.data.Dataset.range(number)
        if read_batch is not None:
            pieces = numbers.batch(_BATCH_SIZE).map(lambda n: (n, read_batch(n)))
        else:
            # One by one, so that a missing file affects only itself.
            read = numbers.map(
                lambda n: (n, read_one(n)),
                num_parallel_calls=self._num_threads,
                deterministic=True,
            )
            pieces = read.ignore_errors().batch(_BATCH_SIZE)
        pace, done, num_bytes = Pace(), 0, 0
        pieces = pieces.with_options(on_own_threads(self._num_threads))
        for examples, read_contents in pieces.as_numpy_iterator():
            contents[examples] = read_contents
            done += len(examples)
            num_bytes += sum(map(len, read_contents))
            if pace.is_due():
                logger.info(
                    "reading: %s of %s images (%s), %.1f GB",
                    f"{done:,}",
                    f"{number:,}",
                    split,
                    num_bytes / 1e9,
                )
        return contents
