"""Example weights: 0 for images that cannot be decoded."""

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

# Takes which images are good, bool `[batch]`, their example numbers, int64 `[batch]`, and the
# epoch, scalar; returns sample weights, float32 `[batch]`.
Weigh = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def make_weigh(config: RunConfig, bad_example_log: BadExampleLog) -> Weigh:
    """Returns a function that sets the weight of bad images to 0 and records them.

    If images are mixed in pairs, both images of a pair get weight 0 if one is bad.

    Args:
        config: Defines whether images are mixed.
        bad_example_log: Where bad images are recorded.
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
    """Returns which images of a split can be decoded, bool `[examples]`; None if all can."""
    bad = source.unreadable(split)
    if not len(bad):
        return None
    is_good = np.ones(source.num_examples(split), np.bool_)
    is_good[bad] = False
    return tf.constant(is_good)
