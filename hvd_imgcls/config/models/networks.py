"""Networks of this package: what their sections hold."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, HalfOpenFraction, PositiveFloat, PositiveInt

_NumFilters = Annotated[tuple[PositiveInt, ...], pydantic.Field(min_length=1)]


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class SmallCnn:
    """Two convolutions and two dense layers, without batch normalisation."""

    name: Literal["small_cnn"]
    """Which model this is."""

    num_filters: tuple[PositiveInt, PositiveInt] = (32, 64)
    """Filters of the first and the second 3 by 3 convolution."""

    num_hidden_units: PositiveInt = 128
    """Units of the first dense layer. The second one has a unit per class."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class PlainCnn:
    """Blocks of 3 by 3 convolutions with batch normalisation, each ended by max pooling.

    In the manner of Simonyan and Zisserman 2014 (arXiv:1409.1556), with batch normalisation
    and global average pooling in the place of their dense layers. For images of any size.
    """

    name: Literal["plain_cnn"]
    """Which model this is."""

    num_filters: _NumFilters = (64, 128, 256)
    """Filters of the convolutions of each block. Every block halves height and width."""

    num_convolutions: PositiveInt = 2
    """Convolutions in every block."""

    dropout: HalfOpenFraction = 0.0
    """Part of the features before the last layer that training sets to 0."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class FastCnn:
    """A network that learns small images in few epochs (after Jordan 2024, arXiv:2404.00498).

    Its first layer whitens patches of 2 by 2 pixels, by their covariance in the training images,
    and is not trained; convolutions begin as the identity; batch normalisation has no scale.
    It needs images of at least 24 pixels, and what the paper's recipe does: a learning rate of the
    offsets of normalisation that is many times that of kernels
    (`optimizer.normalization_bias_multiplier`).
    """

    name: Literal["fast_cnn"]
    """Which model this is."""

    num_filters: tuple[PositiveInt, PositiveInt, PositiveInt] = (64, 256, 256)
    """Filters of the two convolutions of each block. Every block halves height and width."""

    logit_scale: PositiveFloat = 1 / 9
    """What the last layer's outputs are multiplied by. The default is the paper's."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class CifarResNet:
    """Residual networks for images of about 32 by 32 (He et al. 2015, arXiv:1512.03385).

    Those of section 4.2: three stages of 16, 32 and 64 filters, and shortcuts without
    parameters (option A). The number is that of the layers with weights.
    """

    name: Literal["resnet20", "resnet32", "resnet56"]
    """Which model this is."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ResNet:
    """Residual networks for photographs (He et al. 2015, arXiv:1512.03385, table 1).

    Version 1.5: where a stage begins, `resnet50` halves the image in the 3 by 3 convolution and
    not in the 1 by 1 before it (Goyal et al. 2017, arXiv:1706.02677, section 5.1).
    """

    name: Literal["resnet18", "resnet34", "resnet50"]
    """Which model this is."""

    zero_gamma: bool = True
    """The last scale of every residual branch begins at 0, so that every block begins as identity.

    Goyal et al. 2017 (arXiv:1706.02677, section 5.1).
    """

    stem: Literal["imagenet", "small"] = "imagenet"
    """How a network begins.

    `imagenet`: a 7 by 7 convolution and max pooling, which leave a quarter of height and width.
    `small`: one 3 by 3 convolution that leaves them, for images below about 64 pixels.
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Vit:
    """A small vision transformer (Dosovitskiy et al. 2020, arXiv:2010.11929).

    The simple variant without a class token: the mean over all patches is classified
    (Beyer et al. 2022, arXiv:2205.01580). Normalisation comes before attention and before the
    dense layers; positions are learned. Height and width must be multiples of `patch_size`.
    """

    name: Literal["vit"]
    """Which model this is."""

    patch_size: PositiveInt = 4
    """Height and width in pixels of the patches that an image is cut into."""

    width: PositiveInt = 192
    """Features of a patch; a multiple of `num_heads`. 192 is ViT-Ti's (arXiv:2106.10270)."""

    depth: PositiveInt = 6
    """Blocks of attention and dense layers."""

    num_heads: PositiveInt = 3
    """Heads of every attention."""

    mlp_ratio: PositiveFloat = 4.0
    """Units of the hidden dense layer of a block, as a multiple of `width`."""

    dropout: HalfOpenFraction = 0.0
    """Part of the features that training sets to 0 after positions, attention and dense layers."""

    def __post_init__(self) -> None:
        if self.width % self.num_heads:
            raise ValueError(f"width as a multiple of num_heads ({self.num_heads})")


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Cae:
    """The encoder of a convolutional autoencoder, with a classifier on top.

    `hvd_imgcls.models.autoencoder` builds the autoencoder that goes with it. Each convolution
    halves height and width, rounded up, so that images of any size will do.
    """

    name: Literal["cae"]
    """Which model this is."""

    num_filters: _NumFilters = (32, 64, 128)
    """Filters of the 3 by 3 convolutions of the encoder. The decoder has them in reverse."""

    features: Literal["average", "flatten"] = "average"
    """What is classified: the mean of the code over all places, or every number of it."""
