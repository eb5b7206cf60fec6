"""The depth of a layer in a network, and the last layer, from the graph of layers.

A network is a chain of layer groups. A group ends at a layer that every path from the images to
the logits passes: the addition at the end of a residual block, the concatenation of a dense
block, or simply the next layer of a plain network. Only groups with a kernel count. A group
without one, such as a normalisation or pooling layer, belongs to the previous group, or to the
first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from hvd_imgcls.errors import ConfigError

Layers = list[keras.layers.Layer]


def layer_groups_of(model: keras.Model) -> list[Layers]:
    """Returns the layers of each group, from the images to the logits.

    A nested model is treated as the chain of its layers, unless it is part of a branch. A
    layer that is used several times belongs to the group of its first use.

    Args:
        model: A functional or sequential model.

    Raises:
        ConfigError: If the model is neither.
    """
    found: list[Layers] = []
    seen: set[int] = set()
    for layers in _chain(model):
        block = [layer for layer in layers if id(layer) not in seen]
        seen.update(id(layer) for layer in block)
        if not found or (_has_kernel(block) and _has_kernel(found[-1])):
            found.append(block)
        else:
            found[-1].extend(block)
    return found


def last_kernel_layer(model: keras.Model) -> keras.layers.Layer:
    """Returns the layer that computes the logits: the last one with a kernel.

    Raises:
        ConfigError: If there is none, or the model is neither functional nor sequential.
    """
    for block in reversed(layer_groups_of(model)):
        for layer in reversed(block):
            if _has_kernel([layer]):
                return layer
    raise _not_a_chain(model, "without a kernel")


def layer_decay_multipliers(model: keras.Model, decay: float) -> Callable[[Any], float]:
    """Returns a function from a variable to `decay ** (groups between its group and the last)`.

    Clark et al. 2020 (arXiv:2003.10555, appendix) for text, Bao et al. 2022 (arXiv:2106.08254)
    for images. The last group, which computes the logits, has 1. A ResNet-50 thus has 18 groups:
    the first convolution, 16 residual blocks and the last layer. A transformer written as
    `x + attention(x)`, `x + mlp(x)` has two groups per transformer block, which these papers
    count as one: use the square root of their values.

    Args:
        model: A functional or sequential model.
        decay: In (0, 1].

    Raises:
        ConfigError: If the model is neither functional nor sequential.
    """
    blocks = layer_groups_of(model)
    multipliers = {
        id(variable): decay ** (len(blocks) - 1 - depth)
        for depth, block in enumerate(blocks)
        for layer in block
        for variable in getattr(layer, "weights", ())
    }
    return lambda variable: multipliers[id(variable)]


def _chain(model: keras.Model) -> list[Layers]:
    """Returns the layers between the tensors that every path passes, in order."""
    nodes = _nodes_in_order(model)
    position = {id(node): place for place, node in enumerate(nodes)}
    reach = list(range(len(nodes)))
    for place, node in enumerate(nodes):
        for parent in node.parent_nodes:
            if id(parent) in position:
                reach[position[id(parent)]] = max(reach[position[id(parent)]], place)
    chain: list[Layers] = []
    branches: Layers = []
    farthest = 0
    for place, node in enumerate(nodes):
        # A connection from before this layer to after it bypasses the layer.
        is_passed_by_all = farthest <= place
        farthest = max(farthest, reach[place])
        layer = node.operation
        if not is_passed_by_all:
            branches.append(layer)
        elif not branches and isinstance(layer, keras.Model):
            chain.extend(_chain(layer))
        else:
            chain.append([*branches, layer])
            branches = []
    return chain


def _nodes_in_order(model: keras.Model) -> list[Any]:
    """Returns the uses of layers in topological order."""
    functional = getattr(model, "_functional", None) or model
    by_depth = getattr(functional, "_nodes_by_depth", None)
    if not by_depth:
        raise _not_a_chain(model, "without a graph of its layers")
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _has_kernel(layers: Layers) -> bool:
    return any(
        len(variable.shape) > 1 for layer in layers for variable in getattr(layer, "weights", ())
    )


def _not_a_chain(model: keras.Model, what: str) -> ConfigError:
    return ConfigError(
        "model",
        got=f"{model.name}, a model {what}",
        expected="a functional or sequential model with a kernel",
        fix="build it with keras.Model(inputs, outputs), or omit layer decay, adaptive "
        "clipping and muon",
    )
