"""Classes that are drawn for a training step: those of the targets, and random others."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvd_imgcls.data.randomness.keys import DRAWN_CLASSES, stream_key
from hvd_imgcls.keras.class_sharding.part import ClassPart
from hvd_imgcls.keras.class_sharding.targets import weights_and_classes
from hvd_imgcls.keras.graph.train_steps import TrainStep


@dataclass(frozen=True, eq=False)
class DrawnClasses:
    """The classes of this rank that take part in a step.

    Attributes:
        targets: Targets of the group, `[group_batch, 2 k]`.
        places: The classes, counted from the first of this rank, ascending, `[drawn]`, int32.
    """

    targets: tf.Tensor
    places: tf.Tensor

    def find(self, places: tf.Tensor) -> tf.Tensor:
        """Returns where classes are among the drawn ones, same shape, int32.

        Args:
            places: Drawn classes, counted from the first of this rank, int32.
        """
        found = tf.searchsorted(self.places, tf.reshape(places, [-1]))
        return tf.reshape(found, tf.shape(places))

    def columns(self, values: tf.Tensor) -> tf.Tensor:
        """Returns the values of the drawn classes, `[..., drawn]`.

        The gradient of the others is 0.

        Args:
            values: `[..., own_classes]`.
        """
        shape = tf.shape(values, tf.int64)
        places = tf.cast(self.places, tf.int64)

        @tf.custom_gradient
        def gather(all_classes: tf.Tensor) -> tuple[tf.Tensor, Any]:
            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                # Flat, because scattering rows and transposing them takes four times as long.
                length = tf.reduce_prod(shape)
                rows = tf.range(0, length, shape[-1])[:, tf.newaxis]
                indices = tf.reshape(rows + places, [-1, 1])
                flat = tf.scatter_nd(indices, tf.reshape(upstream, [-1]), length[tf.newaxis])
                return tf.reshape(flat, shape)

            return tf.gather(all_classes, self.places, axis=-1), gradient

        return gather(values)


_DRAWN: contextvars.ContextVar[DrawnClasses | None] = contextvars.ContextVar("drawn", default=None)


def drawn_classes() -> DrawnClasses | None:
    """Returns the classes of the training step that is being traced; None if it has all."""
    return _DRAWN.get()


class ClassSampler:
    """Draws the classes of this rank for each training step (Partial FC, arXiv:2203.15565).

    All classes of the global batch are drawn, and of the others as many at random, without
    replacement, as make up the fraction. The random order is a function of the seed, the step and
    the part: it has no state, and the copies of a part draw the same classes.

    Args:
        part: This rank's classes.
        fraction: Fraction of the classes of every part that is drawn, in (0, 1).
        seed: Seed of the run.
    """

    def __init__(self, part: ClassPart, fraction: float, seed: int) -> None:
        self._part = part
        self._key = stream_key(seed, DRAWN_CLASSES, part.number)
        self.num_drawn = max(1, round(fraction * len(part.classes)))
        """Number of classes that are drawn, unless the batch has more."""

    def draw(self, step: tf.Tensor, positives: tf.Tensor) -> tf.Tensor:
        """Returns the drawn classes, counted from the first of this rank.

        Args:
            step: Scalar, int64.
            positives: Classes that must be drawn, counted in the same way, int32, `[number]`.
                A class may occur several times.

        Returns:
            Ascending, `[max(num_drawn, distinct positives)]`, int32.
        """
        number = len(self._part.classes)
        keys = tf.random.stateless_uniform(
            [number],
            tf.stack([tf.constant(self._key, tf.int64), tf.cast(step, tf.int64)]),
            minval=np.iinfo(np.int32).min,
            maxval=np.iinfo(np.int32).max,
            dtype=tf.int32,
            alg="philox",
        )
        ones = tf.ones_like(positives, tf.bool)
        is_positive = tf.tensor_scatter_nd_update(
            tf.zeros([number], tf.bool), positives[:, tf.newaxis], ones
        )
        # No random key is the largest number.
        keys = tf.where(is_positive, np.iinfo(np.int32).max, keys)
        num_positives = tf.reduce_sum(tf.cast(is_positive, tf.int32))
        chosen = tf.math.top_k(keys, tf.maximum(self.num_drawn, num_positives), sorted=False)
        return tf.sort(chosen.indices)

    @contextlib.contextmanager
    def drawing(self, y_true: tf.Tensor, step: tf.Tensor) -> Iterator[None]:
        """Context manager in which the last layer, its loss and its accuracy have drawn classes.

        Collective: every rank must call this.

        Args:
            y_true: Targets of this rank's batch: see `targets_from`.
            step: Scalar, int64.
        """
        part = self._part
        targets = part.gather_targets(y_true)
        _, classes = weights_and_classes(part.gather_over_copies(targets, "classes"))
        places = classes - part.classes.start
        is_own = (places >= 0) & (places < len(part.classes))
        drawn = self.draw(step, tf.boolean_mask(places, is_own))
        token = _DRAWN.set(DrawnClasses(targets, drawn))
        try:
            yield
        finally:
            _DRAWN.reset(token)

    def wrap(self, model: keras.Model) -> Any:
        """Returns a training step of a model with drawn classes, in place of its own."""
        train_step: TrainStep = model.train_step

        def step(data: Any) -> Any:
            _, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
            with self.drawing(tf.convert_to_tensor(targets), model.optimizer.iterations.value):
                return train_step(data)

        return step
