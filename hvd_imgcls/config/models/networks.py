"""Sections of the networks in this package."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.models.heads import WithHead
from hvd_imgcls.config.sections import STRICT, HalfOpenFraction, PositiveFloat, PositiveInt

_NumFilters = Annotated[tuple[PositiveInt, ...], pydantic.Field(min_length=1)]


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class SmallCnn(WithHead):
    """Two convolutions and two dense layers, without batch normalisation."""

    name: Literal["small_cnn"]
    """Name of the model."""

    num_filters: tuple[PositiveInt, PositiveInt] = (32, 64)
    """Filters of the first and the second 3 by 3 convolution."""

    num_hidden_units: PositiveInt = 128
    """Units of the first dense layer. The second one has one unit per class."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class PlainCnn(WithHead):
    """Blocks of 3 by 3 convolutions with batch normalisation, each followed by max pooling.

    In the style of Simonyan and Zisserman 2014 (arXiv:1409.1556), with batch normalisation, and
    global average pooling instead of their dense layers. For images of any size.
    """

    name: Literal["plain_cnn"]
    """Name of the model."""

    num_filters: _NumFilters = (64, 128, 256)
    """Filters of the convolutions of each block. Every block halves height and width."""

    num_convolutions: PositiveInt = 2
    """Convolutions per block."""

    dropout: HalfOpenFraction = 0.0
    """Dropout rate before the last layer."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class FastCnn:
    """A network that learns small images in few epochs (after Jordan 2024, arXiv:2404.00498).

    Its first layer whitens patches of 2 by 2 pixels with their covariance over the training
    images and is not trained; convolutions are initialised to the identity; batch normalisation
    has no scale. Requires images of at least 24 pixels, and, as in the paper's recipe, a learning
    rate for the offsets of normalisation that is many times that of the kernels
    (`optimizer.normalization_bias_multiplier`).
    """

    name: Literal["fast_cnn"]
    """Name of the model."""

    num_filters: tuple[PositiveInt, PositiveInt, PositiveInt] = (64, 256, 256)
    """Filters of the two convolutions of each block. Every block halves height and width."""

    logit_scale: PositiveFloat = 1 / 9
    """Factor applied to the logits. The default is the paper's."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class CifarResNet(WithHead):
    """Residual networks for images of about 32 by 32 (He et al. 2015, arXiv:1512.03385).

    As in section 4.2: three stages of 16, 32 and 64 filters, and parameter-free shortcuts
    (option A). The number in the name counts the layers with weights.
    """

    name: Literal["resnet20", "resnet32", "resnet56"]
    """Name of the model."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class ResNet(WithHead):
    """Residual networks for photographs (He et al. 2015, arXiv:1512.03385, table 1).

    Version 1.5: to downsample, `resnet50` uses stride 2 in the 3 by 3 convolution instead of the
    1 by 1 convolution before it (Goyal et al. 2017, arXiv:1706.02677, section 5.1).
    """

    name: Literal["resnet18", "resnet34", "resnet50"]
    """Name of the model."""

    zero_gamma: bool = True
    """Zero-initialises the last scale of every residual branch, so that blocks start as identity.

    Goyal et al. 2017 (arXiv:1706.02677, section 5.1).
    """

    stem: Literal["imagenet", "small"] = "imagenet"
    """The first layers.

    `imagenet`: a 7 by 7 convolution and max pooling, which reduce height and width by four.
    `small`: one 3 by 3 convolution without reduction, for images below about 64 pixels.
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Vit(WithHead):
    """A small vision transformer (Dosovitskiy et al. 2020, arXiv:2010.11929).

    The simple variant without a class token: global average pooling over the patches
    (Beyer et al. 2022, arXiv:2205.01580). Layer normalisation precedes attention and the MLP
    (pre-norm); position embeddings are learned. Height and width must be multiples of `patch_size`.
    """

    name: Literal["vit"]
    """Name of the model."""

    patch_size: PositiveInt = 4
    """Height and width of the patches in pixels."""

    width: PositiveInt = 192
    """Embedding size; a multiple of `num_heads`. 192 is that of ViT-Ti (arXiv:2106.10270)."""

    depth: PositiveInt = 6
    """Number of transformer blocks."""

    num_heads: PositiveInt = 3
    """Attention heads per block."""

    mlp_ratio: PositiveFloat = 4.0
    """Units of the hidden layer of an MLP, as a multiple of `width`."""

    dropout: HalfOpenFraction = 0.0
    """Dropout rate after position embeddings, attention and dense layers."""

    def __post_init__(self) -> None:
        if self.width % self.num_heads:
            raise ValueError(f"width divisible by num_heads ({self.num_heads})")


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Cae(WithHead):
    """The encoder of a convolutional autoencoder, with a classifier on top.

    `hvd_imgcls.models.autoencoder` builds the matching autoencoder. Each convolution halves
    height and width, rounded up, so images may have any size.
    """

    name: Literal["cae"]
    """Name of the model."""

    num_filters: _NumFilters = (32, 64, 128)
    """Filters of the 3 by 3 convolutions of the encoder. The decoder mirrors them."""

    features: Literal["average", "flatten"] = "average"
    """Input of the classifier: the code averaged over all positions, or the flattened code."""
