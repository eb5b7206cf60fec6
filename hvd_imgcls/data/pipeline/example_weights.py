"""Weights of examples: none for images that cannot be read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.augmentations import Cutmix, Mixup
from hvd_imgcls.data.augment.mixing import partners
from hvd_imgcls.data.bad_examples.log import BadExampleLog
from hvd_imgcls.data.order.splits import Numbers, Split
from hvd_imgcls.data.sources.base import ArraySource

# Which images are good, bool `[batch]`, their example numbers, int64 `[batch]`, and the epoch,
# scalar, in; sample weights, float32 `[batch]`, out.
Weigh = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def make_weigh(config: RunConfig, bad_example_log: BadExampleLog) -> Weigh:
    """Returns a function that gives bad images no weight and notes them.

    Where images are mixed in pairs, both of a pair have none if one is bad.

    Args:
        config: Says whether images are mixed.
        bad_example_log: Where bad images are noted.
    """
    mixes = any(isinstance(part, Mixup | Cutmix) for part in config.augment)

    def note(examples: Numbers, epoch: np.int64) -> np.bool_:
        bad_example_log.add(examples, int(epoch))
        return np.bool_(True)

    def weigh(is_good: tf.Tensor, examples: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
        def note_bad() -> tf.Tensor:
            bad = tf.boolean_mask(examples, tf.logical_not(is_good))
            return tf.numpy_function(note, [bad, epoch], tf.bool)

        noted = tf.cond(tf.reduce_all(is_good), lambda: tf.constant(True), note_bad)
        with tf.control_dependencies([noted]):
            weights = tf.cast(is_good, tf.float32)
        return tf.minimum(weights, partners(weights)) if mixes else weights

    return weigh


def readable(source: ArraySource, split: Split) -> tf.Tensor | None:
    """Returns which images of a split are good, bool `[examples]`; None if all are."""
    bad = source.unreadable(split)
    if not len(bad):
        return None
    is_good = np.ones(source.num_examples(split), np.bool_)
    is_good[bad] = False
    return tf.constant(is_good)
