"""Targets of training batches: one value per class, or only the classes of an example."""

from __future__ import annotations

from abc import ABC, abstractmethod

import tensorflow as tf

from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.augmentations import Cutmix, Mixup
from hvd_imgcls.config.models import class_sharded_head


class Targets(ABC):
    """How the targets of a batch are represented, before and after mixing."""

    @abstractmethod
    def begin(self, labels: tf.Tensor) -> tf.Tensor:
        """Returns what augmentations mix, `[batch, columns]`, float32.

        Args:
            labels: `[batch]`.
        """

    @abstractmethod
    def finish(self, mixed: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Returns the targets of a batch, float32, from what was mixed."""

    @abstractmethod
    def class_weight(
        self, mixed: tf.Tensor, labels: tf.Tensor, class_weights: tf.Tensor
    ) -> tf.Tensor:
        """Returns the weighted mean of the weights of an example's classes, `[batch]`."""

    @abstractmethod
    def one_hot(self, targets: tf.Tensor) -> tf.Tensor:
        """Returns the targets of a batch with a value for each class, `[batch, num_classes]`."""


class OneHot(Targets):
    """A value for each class: `[batch, num_classes]`."""

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes

    def begin(self, labels: tf.Tensor) -> tf.Tensor:
        """Returns one-hot rows."""
        return tf.one_hot(labels, self._num_classes)

    def finish(self, mixed: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Returns them as they are."""
        return mixed

    def class_weight(
        self, mixed: tf.Tensor, labels: tf.Tensor, class_weights: tf.Tensor
    ) -> tf.Tensor:
        """See `Targets.class_weight`."""
        return tf.linalg.matvec(mixed, class_weights)

    def one_hot(self, targets: tf.Tensor) -> tf.Tensor:
        """Returns them as they are."""
        return targets


class FewClasses(Targets):
    """Only the classes that an example has: `[batch, 2 k]`, k weights and then k class numbers.

    Mixing is linear in the targets, and stays within pairs of neighbours. So the weights of the two
    examples of a pair are mixed, instead of those of all classes.

    Args:
        num_classes: Number of classes.
        mixes: Whether examples are mixed: k is 2 then, else 1.
    """

    def __init__(self, num_classes: int, *, mixes: bool) -> None:
        self._num_classes = num_classes
        self._num_columns = 2 if mixes else 1

    def begin(self, labels: tf.Tensor) -> tf.Tensor:
        """Returns the weights of the examples of each pair, before they are mixed."""
        number = tf.shape(labels)[0]
        return tf.one_hot(tf.range(number) % self._num_columns, self._num_columns)

    def finish(self, mixed: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Returns weights and classes."""
        classes = tf.cast(self._classes(labels), tf.float32)
        return tf.concat([mixed, classes], axis=-1)

    def class_weight(
        self, mixed: tf.Tensor, labels: tf.Tensor, class_weights: tf.Tensor
    ) -> tf.Tensor:
        """See `Targets.class_weight`."""
        return tf.reduce_sum(mixed * tf.gather(class_weights, self._classes(labels)), axis=-1)

    def one_hot(self, targets: tf.Tensor) -> tf.Tensor:
        """See `Targets.one_hot`."""
        weights, classes = tf.split(tf.convert_to_tensor(targets), 2, axis=-1)
        rows = tf.one_hot(tf.cast(classes, tf.int32), self._num_classes)
        return tf.reduce_sum(weights[:, :, tf.newaxis] * rows, axis=1)

    def _classes(self, labels: tf.Tensor) -> tf.Tensor:
        """Returns the classes of the examples of each pair, `[batch, k]`."""
        pairs = tf.reshape(labels, [-1, self._num_columns])
        return tf.repeat(pairs, self._num_columns, axis=0)


def targets_of(config: RunConfig, num_classes: int) -> Targets:
    """Returns the targets that the head of a model needs.

    Args:
        config: Sections `model` and `augment`.
        num_classes: Number of classes.
    """
    if class_sharded_head(config.model) is None:
        return OneHot(num_classes)
    mixes = any(isinstance(part, Mixup | Cutmix) for part in config.augment)
    return FewClasses(num_classes, mixes=mixes)
