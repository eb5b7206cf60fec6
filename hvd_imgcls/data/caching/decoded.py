"""`data.cache: decoded`: decodes small images once and keeps them in memory."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import numpy.typing as npt

from hvd_imgcls.config import RunConfig
from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.sources.base import ArraySource, EncodedSource
from hvd_imgcls.data.sources.wrapper import SourceWrapper
from hvd_imgcls.errors import BadImagesError
from hvd_imgcls.logs import Pace

logger = logging.getLogger(__name__)

_BATCH_SIZE = 256


class DecodedImages(SourceWrapper, ArraySource):
    """Images of another source, decoded and centre-cropped, in memory.

    Args:
        source: The encoded images.
        config: Defines the image size.
        num_threads: Threads that decode.
    """

    _source: EncodedSource

    def __init__(self, source: EncodedSource, config: RunConfig, num_threads: int) -> None:
        super().__init__(source)
        self._config = config
        self._num_threads = num_threads
        self._images: dict[Split, npt.NDArray[np.uint8]] = {}
        self._unreadable: dict[Split, Numbers] = {}

    @property
    def encoded(self) -> EncodedSource:
        """The source."""
        return self._source

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """As configured."""
        data = self._config.data
        size = data.image_size or 0
        return size, size, data.num_channels

    def images(self, split: Split) -> npt.NDArray[np.uint8]:
        """Returns all images of a split, `[examples, height, width, channels]`, uint8."""
        if split not in self._images:
            self._images[split] = self._decode(split)
        return self._images[split]

    def unreadable(self, split: Split) -> Numbers:
        """Returns the examples excluded by `data.bad_examples: quarantine`, in order."""
        self.images(split)
        return self._unreadable[split]

    def _decode(self, split: Split) -> npt.NDArray[np.uint8]:
        import tensorflow as tf

        from hvd_imgcls.data.bad_examples.unreadable import find_unreadable
        from hvd_imgcls.data.dataset_options import on_own_threads
        from hvd_imgcls.data.decoding.blanks import make_loader
        from hvd_imgcls.data.decoding.image_files import make_evaluation_decoder

        decode = make_evaluation_decoder(self._config, self.image_shape)
        number = self.num_examples(split)
        # Full batches: the last one is padded with the last image.
        slots = tf.data.Dataset.range(-(-number // _BATCH_SIZE) * _BATCH_SIZE).map(
            lambda slot: (tf.minimum(slot, number - 1), slot, slot)
        )
        dataset = make_loader(self._config, self.image_shape)(
            slots,
            self._source,
            split,
            decode,
            batch_size=_BATCH_SIZE,
            num_threads=self._num_threads,
        )
        images = np.empty((number, *self.image_shape), np.uint8)
        is_good = np.ones(number, np.bool_)
        done, pace = 0, Pace()
        batches = dataset.with_options(on_own_threads(self._num_threads)).as_numpy_iterator()
        while done < number:
            try:
                batch, _, _, *good = (array[: number - done] for array in next(batches))
            except tf.errors.OpError:
                suspects = zip(range(done, min(done + _BATCH_SIZE, number)), itertools.repeat(0))
                bad = find_unreadable(self._source, split, decode, suspects)
                if bad is None:
                    raise
                # Every rank decodes all images.
                raise BadImagesError(str(bad)) from None
            images[done : done + len(batch)] = batch
            if good:
                is_good[done : done + len(batch)] = good[0]
            done += len(batch)
            if pace.is_due():
                logger.info("decoding: %s of %s images (%s)", f"{done:,}", f"{number:,}", split)
        self._unreadable[split] = np.flatnonzero(~is_good)
        return images
