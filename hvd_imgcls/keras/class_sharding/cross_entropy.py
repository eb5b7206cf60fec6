"""Cross-entropy of a softmax whose classes are divided over the ranks."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls.distributed import ReduceOp
from hvd_imgcls.keras.class_sharding.part import ClassPart
from hvd_imgcls.keras.class_sharding.sampling import drawn_classes
from hvd_imgcls.keras.class_sharding.targets import weights_and_classes


class ClassShardedCrossEntropy(keras.losses.Loss):
    """`keras.losses.CategoricalCrossentropy(from_logits=True)` of all classes.

    The normalisation is exact: the maximum and the sum of the exponentials are those of all parts
    (as in An et al. 2020, Partial FC, arXiv:2010.05222, section 3.2). In a training step for which
    classes are drawn, it is that of the drawn classes of all parts, which label smoothing spreads
    a target over.

    Takes targets `[batch, 2 k]`, the weights of k classes and then their numbers, or class numbers
    `[batch]`, and logits `[group_batch, own_classes]`, and returns a loss for each example of this
    rank, `[batch]`.

    Collective: every rank must call this, and compute its gradient.

    Args:
        part: This rank's classes.
        label_smoothing: Fraction of every target spread evenly over all classes, in [0, 1).
    """

    def __init__(self, part: ClassPart, label_smoothing: float = 0.0) -> None:
        super().__init__(name="cross_entropy")
        self._part = part
        self._label_smoothing = label_smoothing

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of every example of this rank. Collective."""
        part, smoothing = self._part, self._label_smoothing
        num_own, drawn = tf.shape(y_true)[0], drawn_classes()
        targets = part.gather_targets(y_true) if drawn is None else drawn.targets
        weights, classes = weights_and_classes(targets)
        num_targets = classes.shape[1]
        weights *= 1.0 - smoothing
        places = classes - part.classes.start
        is_own = (places >= 0) & (places < len(part.classes))
        # Those of other ranks get an update of 0.
        places = tf.where(is_own, places, 0)
        if drawn is not None:
            places = drawn.find(places)
        rows = tf.broadcast_to(tf.range(tf.shape(places)[0])[:, tf.newaxis], tf.shape(places))
        indices = tf.stack([rows, places], axis=-1)

        @tf.custom_gradient
        def losses_of(logits: tf.Tensor) -> tuple[tf.Tensor, Any]:
            top = part.reduce(tf.reduce_max(logits, axis=-1), ReduceOp.MAX, "maximum")
            shifted = logits - top[:, tf.newaxis]
            own = tf.where(is_own, tf.gather_nd(shifted, indices), 0.0)
            columns = [tf.reduce_sum(tf.exp(shifted), axis=-1, keepdims=True), own]
            if smoothing:
                columns.append(tf.reduce_sum(shifted, axis=-1, keepdims=True))
                # Exact in float32: see `targets.MAX_CLASSES`.
                number = tf.fill(tf.shape(columns[0]), tf.cast(tf.shape(logits)[1], tf.float32))
                columns.append(number)
            sums = part.reduce(tf.concat(columns, axis=-1), ReduceOp.SUM, "sums")
            log_sum = tf.math.log(sums[:, 0])
            of_classes = sums[:, 1 : 1 + num_targets]
            total = tf.reduce_sum(weights, axis=-1) + smoothing
            losses = total * log_sum - tf.reduce_sum(weights * of_classes, axis=-1)
            if smoothing:
                spread = smoothing / sums[:, -1]
                losses -= spread * sums[:, -2]

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                factors = part.gather(upstream, "losses.gradient")[:, tf.newaxis]
                probabilities = tf.exp(logits - (top + log_sum)[:, tf.newaxis])
                spread_out = probabilities
                if smoothing:
                    spread_out -= spread[:, tf.newaxis]
                updates = tf.where(is_own, -factors * weights, 0.0)
                return tf.tensor_scatter_nd_add(factors * spread_out, indices, updates)

            return part.own_rows(losses, num_own), gradient

        return losses_of(y_pred)
