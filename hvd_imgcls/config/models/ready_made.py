"""Networks that others have made: what their sections hold."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.models.applications import ApplicationName
from hvd_imgcls.config.sections import STRICT, HalfOpenFraction, NonEmptyStr


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class KerasApplication:
    """A model of `keras.applications`, with its own normalisation of pixels built in.

    Nothing is downloaded. Images need three channels; `data.normalization` must be left out.
    """

    name: Literal["keras_application"]
    """Which model this is."""

    application: ApplicationName
    """The name of the model in Keras 3.15."""

    weights: NonEmptyStr | None = None
    """A file of weights (`.weights.h5`, `.keras` or Keras 2's `.h5`), or null for random ones.

    It may hold the whole model, for any number of classes, or all but the top ("notop"). The
    last layer is new unless the file's has as many classes.
    """

    dropout: HalfOpenFraction | None = None
    """Part of the features before the last layer that training sets to 0; null: the model's own."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class KerasFile:
    """A whole model from a `.keras` file, weights included.

    Its classifier must be a dense layer; a softmax at the end is taken off. A file that holds
    code, such as a Lambda layer, is refused.
    """

    name: Literal["keras_file"]
    """Which model this is."""

    path: NonEmptyStr
    """The file. `~` is the home directory. Every rank reads it."""

    replace_head: Literal["auto", "always", "never"] = "auto"
    """Whether the last dense layer is replaced by a new one.

    `auto`: if it has another number of units than there are classes.
    """

    normalization_in_model: bool = True
    """Whether the model of the file takes pixels of 0 to 255, like every file of this package.

    If not, `data.normalization` is put in front of it; with `true` it must be left out.
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class GivenModel:
    """The Keras model that a program of your own hands over: `train(config, model=...)`.

    The command line has no such model. It takes pixels of 0 to 255; `data.normalization` must be
    left out.
    """

    name: Literal["given"]
    """Which model this is."""
