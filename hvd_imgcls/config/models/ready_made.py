"""Sections of existing models: `keras.applications`, model files, models passed by a program."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from hvd_imgcls.config.models.applications import ApplicationName
from hvd_imgcls.config.models.heads import WithHead
from hvd_imgcls.config.sections import STRICT, HalfOpenFraction, NonEmptyStr


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class KerasApplication(WithHead):
    """A model of `keras.applications`, including its own normalisation of pixels.

    Requires images with three channels and no `data.normalization`.
    """

    name: Literal["keras_application"]
    """Name of the model."""

    application: ApplicationName
    """The name of the model in Keras 3.15."""

    weights: NonEmptyStr | None = None
    """`imagenet`, a weights file (`.weights.h5`, `.keras`, Keras 2's `.h5`), or null for random.

    `imagenet`: the weights published with Keras, which is the only thing that a run downloads; the
    last layer is new unless there are 1,000 classes. A file may hold the whole model, for any
    number of classes, or the model without its top ("notop"). The last layer is new unless the
    file's has the right number of classes.
    """

    dropout: HalfOpenFraction | None = None
    """Dropout rate before the last layer; null: the model's default."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class KerasFile(WithHead):
    """A whole model from a `.keras` file, including weights.

    Its classifier must be a dense layer; a final softmax is removed. Files that contain code,
    such as Lambda layers, are rejected.
    """

    name: Literal["keras_file"]
    """Name of the model."""

    path: NonEmptyStr
    """The file. `~` is the home directory. Every rank reads it."""

    replace_head: Literal["auto", "always", "never"] = "auto"
    """Whether the last dense layer is replaced by a new one.

    `auto`: only if its number of units differs from the number of classes, or if the file is that
    of a run or an export with other class names.
    """

    normalization_in_model: bool = True
    """Whether the model in the file takes raw pixels in 0 to 255, like all models of this package.

    If false, `data.normalization` is prepended to it; if true, it must be omitted.
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class KerasHub(WithHead):
    """An image classifier of KerasHub, including its own normalisation of pixels.

    Requires `pip install 'hvd_imgcls[kerashub]'`, and no `data.normalization`. The last layer is
    new unless the preset's has the right number of classes.
    """

    name: Literal["keras_hub"]
    """Name of the model."""

    preset: NonEmptyStr
    """A preset that `hvd-imgcls models` lists, which is downloaded from Kaggle, or a directory.

    The directory is one that `save_to_preset` of an image classifier has written. Classes that are
    not of Keras or KerasHub are rejected.
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class GivenModel:
    """A Keras model passed by your own program: `train(config, model=...)`.

    Not available on the command line. The model takes raw pixels in 0 to 255;
    `data.normalization` must be omitted.
    """

    name: Literal["given"]
    """Name of the model."""
