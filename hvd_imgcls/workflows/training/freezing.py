"""Freezes and unfreezes layers: which ones, how long, and what stays unchanged."""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from hvd_imgcls.config.fine_tuning import Freeze
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.optimizers.depth import last_kernel_layer

TRUNK = "trunk"


@dataclass(frozen=True, slots=True)
class Segment:
    """Epochs in which the same layers are trainable.

    Attributes:
        first_epoch: 0-based.
        last_epoch: The one after the last, 0-based.
        frozen: Patterns of the frozen layers.
    """

    first_epoch: int
    last_epoch: int
    frozen: tuple[str, ...]


def segments(freezes: Sequence[Freeze], num_epochs: int) -> list[Segment]:
    """Divides a run of `num_epochs` epochs into segments, in order, without gaps.

    >>> segments([Freeze(layers=("trunk",), epochs=2)], 5)
    [Segment(first_epoch=0, last_epoch=2, frozen=('trunk',)), Segment(first_epoch=2, \
last_epoch=5, frozen=())]
    """
    ends = sorted({min(freeze.epochs or num_epochs, num_epochs) for freeze in freezes})
    bounds = [0, *ends] if num_epochs in ends else [0, *ends, num_epochs]
    return [
        Segment(
            first,
            last,
            tuple(
                pattern
                for freeze in freezes
                if freeze.epochs is None or freeze.epochs > first
                for pattern in freeze.layers
            ),
        )
        for first, last in itertools.pairwise(bounds)
    ]


class Freezer:
    """Freezes and unfreezes the layers of one model.

    Args:
        model: A built model. Layers that are not trainable now are never unfrozen.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._trainable = [
            (layer, [(v, v.trainable) for v in layer._trainable_variables])
            for layer in _leaves(model)
            if layer.trainable
        ]
        self._patterns: tuple[str, ...] = ()

    @contextlib.contextmanager
    def as_trained(self) -> Iterator[None]:
        """Context manager in which the layers are frozen as in the last training, then restored.

        A frozen layer normalises with its moving statistics, which do not change.
        """
        self.freeze(self._patterns)
        try:
            yield
        finally:
            self.thaw()

    def thaw(self) -> None:
        """Restores the initial state of all layers."""
        patterns = self._patterns
        self.freeze(())
        self._patterns = patterns

    def freeze(self, patterns: Sequence[str]) -> int:
        """Freezes the matching layers and restores the initial state of all others.

        A pattern that matches the name of a nested model applies to all of its layers.

        Args:
            patterns: Names, with `*` for any text, or `trunk`.

        Returns:
            The number of frozen layers with weights.

        Raises:
            ConfigError: If a pattern matches no layer.
        """
        self._patterns = tuple(patterns)
        for layer, variables in self._trainable:
            layer.trainable = True
            for variable, was_trainable in variables:
                variable.trainable = was_trainable
        frozen = {id(layer): layer for pattern in patterns for layer in self._layers_of(pattern)}
        for layer in frozen.values():
            layer.trainable = False
        return sum(bool(layer.weights) for layer in frozen.values())

    def _layers_of(self, pattern: str) -> list[keras.layers.Layer]:
        if pattern == TRUNK:
            head = last_kernel_layer(self._model)
            return [layer for layer in _leaves(self._model) if layer is not head]
        found = {}
        for layer in self._model._flatten_layers(include_self=False):
            if fnmatch.fnmatchcase(layer.name, pattern):
                found.update({id(leaf): leaf for leaf in _leaves(layer)})
        if found:
            return list(found.values())
        names = [layer.name for layer in self._model.layers if layer.weights]
        raise ConfigError(
            "fine_tuning.freeze",
            got=pattern,
            expected=f"the name of a layer, such as {', '.join(names[:6])}",
            fix="correct it; `*` stands for any text, `trunk` for all layers but the last",
        )


def _leaves(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns the layers without sublayers, each once."""
    leaves = {}
    for inner in layer._flatten_layers():
        if not list(inner._flatten_layers(include_self=False)):
            leaves[id(inner)] = inner
    return list(leaves.values())


def carry_over(old: keras.optimizers.Optimizer, new: keras.optimizers.Optimizer) -> None:
    """Transfers the state of an optimizer to another one that is built for other variables.

    That is, the number of completed updates, so that the schedule continues, and the state of
    the variables that both train. For other variables the state starts from scratch; their
    averages start at the values of the variables.

    Args:
        old: The previous optimizer.
        new: One of the same class for other variables of the same model, built.
    """
    old, new = (getattr(one, "inner_optimizer", one) for one in (old, new))
    known = {variable.name: variable for variable in old.variables}
    for variable in new.variables:
        if variable.name in known:
            variable.assign(known[variable.name])
    averages: Any = getattr(new, "_model_variables_moving_average", None) or ()
    for weight, average in zip(new._trainable_variables, averages, strict=False):
        if average is not None and average.name not in known:
            average.assign(weight)
