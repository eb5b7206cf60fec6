"""Divides the last layer of a model over the ranks, and puts it together again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from hvd_imgcls import distributed
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.keras.class_sharding.dense import ClassShardedDense
from hvd_imgcls.keras.class_sharding.part import ClassPart
from hvd_imgcls.keras.class_sharding.sampling import ClassSampler
from hvd_imgcls.keras.class_sharding.targets import MAX_CLASSES

_EXTRAS = (
    "kernel_regularizer",
    "bias_regularizer",
    "activity_regularizer",
    "kernel_constraint",
    "bias_constraint",
    "quantization_mode",
)


class ClassShardedHead:
    """The last layer of a model, divided by class.

    The divided model has the layers of the whole one, except for the last, of which it has this
    rank's part. The whole one loses the weights of its last layer, and gets them back while they
    are needed: `gathered`.

    Args:
        whole: A functional model that ends in a dense layer, with the same weights on all ranks.
        part: This rank's classes.
        sampler: Draws the classes of every training step; all of them if None.
        model_class: Class of the divided model.

    Attributes:
        model: The divided model; from images `[batch, height, width, channels]` to logits
            `[group_batch, own_classes]`. Calling it is collective.
        features: The layers before the last; to features `[batch, features]`.

    Raises:
        ConfigError: If the model does not end in a plain dense layer, or has too many classes.
    """

    def __init__(
        self,
        whole: keras.Model,
        part: ClassPart,
        sampler: ClassSampler | None = None,
        *,
        model_class: type[keras.Model] = keras.Model,
    ) -> None:
        self.part = part
        self._whole = whole
        self._layer = last_dense(whole)
        layer = self._layer
        own = ClassShardedDense(part, use_bias=layer.use_bias, name=layer.name)
        inputs = whole.inputs if len(whole.inputs) > 1 else whole.inputs[0]
        self.model = model_class(inputs=inputs, outputs=own(layer.input), name=whole.name)
        self._own = own
        self.features = keras.Model(inputs, layer.input, name=whole.name)
        classes = slice(part.classes.start, part.classes.stop)
        for variable, value in zip(own.weights, layer.weights, strict=True):
            variable.assign(value.value[..., classes])
        own.trainable = layer.trainable
        if sampler is not None:
            # On the instance, in front of the class's method. Not `setattr`, which Keras tracks.
            vars(self.model)["train_step"] = sampler.wrap(self.model)
        self._release()

    @property
    def variables(self) -> list[Any]:
        """This rank's part of the kernel, `[features, own_classes]`, and of the bias."""
        return list(self._own.weights)

    @contextlib.contextmanager
    def gathered(self) -> Iterator[keras.Model]:
        """Context manager that yields the whole model, with the weights of all parts.

        Functions that were traced with it before, or with it in this context, are invalid
        afterwards. Collective: every rank must call this.
        """
        for variable, own in zip(self._layer.weights, self._own.weights, strict=True):
            variable._initialize(tf.zeros(variable.shape, variable.dtype))
            self._fill(variable.value, own.value)
        try:
            yield self._whole
        finally:
            self._release()

    def _fill(self, whole: tf.Variable, own: tf.Variable) -> None:
        """Assigns the parts one after the other, each sent by a rank that has it. Collective."""
        part, ranks = self.part, distributed.current()
        for number in range(part.division.num_parts):
            classes = part.division.classes(number)
            shape = [*whole.shape[:-1], len(classes)]
            sent = own.read_value() if number == part.number else tf.zeros(shape, own.dtype)
            if part.division.num_parts > 1:
                root = part.division.group(ranks.topology.rank)[number]
                name = f"class_sharding.part_{number}"
                sent = ranks.broadcast(sent, root, name=name, process_set=part.group)
            whole[..., classes.start : classes.stop].assign(sent)

    def _release(self) -> None:
        """Frees the memory of the whole layer's weights."""
        for variable in self._layer.weights:
            # Their shapes remain. Keras has no way of replacing a variable of a layer.
            variable._value = _Released(variable)


class _Released:
    """In place of the value of a variable without memory.

    Args:
        variable: The variable.
    """

    def __init__(self, variable: Any) -> None:
        self.shape, self.dtype = tf.TensorShape(variable.shape), tf.as_dtype(variable.dtype)
        self._path = variable.path

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"{self._path} is divided over the ranks: use it in `gathered()`")


def last_dense(model: keras.Model) -> Any:
    """Returns the dense layer that a model ends in.

    Raises:
        ConfigError: If it ends in something else.
    """
    layer = model.outputs[0]._keras_history.operation if getattr(model, "outputs", None) else None
    if not isinstance(layer, keras.layers.Dense):
        raise _refused(f"a model that ends in {type(layer).__name__}", "a dense layer at its end")
    if getattr(layer.activation, "__name__", "linear") != "linear":
        raise _refused("a last layer with an activation", "logits")
    found = [name for name in _EXTRAS if getattr(layer, name, None) is not None]
    if found or layer.lora_enabled:
        raise _refused(f"a last layer with {(found or ['LoRA'])[0]}", "a plain dense layer")
    if len(layer._inbound_nodes) != 1:
        raise _refused("a last layer that is used several times", "one that is used once")
    if layer.units > MAX_CLASSES:
        raise _refused(f"{layer.units:,} classes", f"at most {MAX_CLASSES:,}")
    return layer


def _refused(got: str, expected: str) -> ConfigError:
    return ConfigError(
        "model.head",
        got=f"class_sharded, with {got}",
        expected=expected,
        fix="change the model, or use the head dense",
    )
