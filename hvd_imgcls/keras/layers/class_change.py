"""Layers whose class is changed in place."""

from __future__ import annotations

import keras


def change_class(layer: keras.layers.Layer, cls: type) -> None:
    """Gives a layer another class in place: it may already be part of a graph of layers.

    Args:
        layer: The layer.
        cls: A class that differs from the layer's in behaviour alone, not in what it holds.
    """
    # Past a `__class__` that the class itself defines, for the sake of what Keras saves.
    vars(object)["__class__"].__set__(layer, cls)
