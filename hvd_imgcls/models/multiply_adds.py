"""Number of multiply-adds that a model needs for one image, from the shapes of its layers.

Counts every product of an activation and a weight: in all types of convolutions, dense layers
and the projections of attention; and both products of attention, queries by keys and weights
by values. Does not count biases, normalisation, activations, pooling and additions, as in the
tables of He et al. 2015 (arXiv:1512.03385, table 1), who call multiply-adds FLOPs. Frameworks
that count a multiplication and an addition separately report twice as much.
"""

from __future__ import annotations

import math
from typing import Any

import keras


def count_multiply_adds(model: keras.Model) -> int:
    """Returns the multiply-adds of a forward pass for one image.

    Args:
        model: Functional or sequential, with known shapes. Layers that are called twice count
            twice.

    Raises:
        ValueError: If a shape is unknown.
    """
    total = 0
    for nodes in _graph_of(model)._nodes_by_depth.values():
        for node in nodes:
            if not node.is_input:
                total += _of_call(node.operation, node.arguments, node.output_tensors)
    return total


def _graph_of(model: keras.Model) -> Any:
    """Returns the object with the model's graph; a sequential model has it inside."""
    return model._functional if isinstance(model, keras.Sequential) else model


def _of_call(layer: Any, arguments: Any, outputs: list[Any]) -> int:
    """Returns the multiply-adds of one call of one layer."""
    inputs = arguments.keras_tensors
    if isinstance(layer, keras.Model):
        return count_multiply_adds(layer)
    if isinstance(layer, keras.layers.MultiHeadAttention):
        return _of_attention(layer, arguments.args, arguments.kwargs)
    if isinstance(layer, keras.layers.TimeDistributed | keras.layers.Bidirectional):
        raise ValueError(f"{layer.name}: layers inside {type(layer).__name__} are not counted")
    if not isinstance(layer, keras.layers.Layer):
        return 0
    return _of_layer(layer, _size(inputs[0]) if inputs else (), _size(outputs[0]))


def _of_layer(layer: Any, taken: tuple[int, ...], given: tuple[int, ...]) -> int:
    """Returns the multiply-adds of a layer with these input and output shapes, without batch."""
    layers = keras.layers
    if isinstance(layer, layers.Dense):
        return math.prod(given) * taken[-1]
    if isinstance(layer, layers.EinsumDense):
        return _of_einsum(layer.equation, taken, tuple(layer.kernel.shape))
    if isinstance(layer, layers.Conv2DTranspose):
        return math.prod(taken) * _kernel_size(layer) * layer.filters
    if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.SeparableConv2D):
        return math.prod(given[:-1]) * _of_place(layer, taken[-1])
    return 0


def _of_place(layer: Any, num_channels: int) -> int:
    """Returns the multiply-adds of a convolution for one output pixel."""
    if isinstance(layer, keras.layers.Conv2D):
        return _kernel_size(layer) * num_channels * layer.filters // layer.groups
    depthwise = _kernel_size(layer) * num_channels * layer.depth_multiplier
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return depthwise
    return depthwise + num_channels * layer.depth_multiplier * layer.filters


def _of_einsum(equation: str, taken: tuple[int, ...], kernel: tuple[int, ...]) -> int:
    """Returns the multiply-adds of `EinsumDense`: the product of all axes except the batch."""
    first, _, rest = equation.replace("...", "").partition(",")
    second = rest.partition("->")[0]
    # Axes without a letter ("...") come first.
    num_free = len(taken) - (len(first) if "..." in equation else len(first) - 1)
    sizes = dict(zip(second, kernel, strict=True))
    named = first if "..." in equation else first[1:]
    sizes.update(zip(named, taken[num_free:], strict=True))
    return math.prod(taken[:num_free]) * math.prod(sizes.values())


def _of_attention(layer: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> int:
    """Returns the multiply-adds of an attention layer: its projections and both products."""
    names = ("query", "value", "key")
    given = {**dict(zip(names, arguments, strict=False)), **keywords}
    query, value = given["query"], given["value"]
    key = given.get("key")
    key = value if key is None else key
    num_queries, num_keys = math.prod(_size(query)[:-1]), math.prod(_size(key)[:-1])
    key_units = layer.num_heads * layer.key_dim
    value_units = layer.num_heads * layer.value_dim
    output_units = layer.output_dense.kernel.shape[-1]
    projections = (
        num_queries * _size(query)[-1] * key_units
        + num_keys * _size(key)[-1] * key_units
        + num_keys * _size(value)[-1] * value_units
        + num_queries * value_units * output_units
    )
    return int(projections + num_queries * num_keys * (key_units + value_units))


def _kernel_size(layer: Any) -> int:
    return math.prod(layer.kernel_size)


def _size(tensor: Any) -> tuple[int, ...]:
    """Returns a shape without the batch axis."""
    size = tuple(tensor.shape[1:])
    if None in size:
        raise ValueError(f"the shape {tensor.shape} is unknown")
    return size
