"""The models of `keras.applications`: preprocessing and image size of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import keras

from hvd_imgcls.config.models.applications import ApplicationName
from hvd_imgcls.models.normalization import IMAGENET_MEAN, IMAGENET_STANDARD_DEVIATION, MAX_PIXEL

Pixels = Literal["caffe", "signed", "torch", "inside"]

# ImageNet's training means, for pixels 0 .. 255, in the order blue, green, red, as used by
# networks trained in Caffe (keras.applications.imagenet_utils, mode "caffe").
CAFFE_MEAN = (103.939, 116.779, 123.68)


@dataclass(frozen=True, slots=True)
class Application:
    """Properties of a model in `keras.applications`.

    Attributes:
        pixels: Its preprocessing. `caffe`: blue, green, red, minus their mean. `signed`: -1 to 1.
            `torch`: mean 0 and deviation 1 on ImageNet. `inside`: 0 to 255, since its first
            layers normalise pixels.
        image_size: Height and width that it was designed for.
    """

    pixels: Pixels
    image_size: int = 224


APPLICATIONS: dict[ApplicationName, Application] = {
    "ConvNeXtBase": Application("inside"),
    "ConvNeXtLarge": Application("inside"),
    "ConvNeXtSmall": Application("inside"),
    "ConvNeXtTiny": Application("inside"),
    "ConvNeXtXLarge": Application("inside"),
    "DenseNet121": Application("torch"),
    "DenseNet169": Application("torch"),
    "DenseNet201": Application("torch"),
    "EfficientNetB0": Application("inside"),
    "EfficientNetB1": Application("inside", 240),
    "EfficientNetB2": Application("inside", 260),
    "EfficientNetB3": Application("inside", 300),
    "EfficientNetB4": Application("inside", 380),
    "EfficientNetB5": Application("inside", 456),
    "EfficientNetB6": Application("inside", 528),
    "EfficientNetB7": Application("inside", 600),
    "EfficientNetV2B0": Application("inside"),
    "EfficientNetV2B1": Application("inside", 240),
    "EfficientNetV2B2": Application("inside", 260),
    "EfficientNetV2B3": Application("inside", 300),
    "EfficientNetV2L": Application("inside", 480),
    "EfficientNetV2M": Application("inside", 480),
    "EfficientNetV2S": Application("inside", 384),
    "InceptionResNetV2": Application("signed", 299),
    "InceptionV3": Application("signed", 299),
    "MobileNet": Application("signed"),
    "MobileNetV2": Application("signed"),
    "MobileNetV3Large": Application("inside"),
    "MobileNetV3Small": Application("inside"),
    "NASNetLarge": Application("signed", 331),
    "NASNetMobile": Application("signed"),
    "ResNet101": Application("caffe"),
    "ResNet101V2": Application("signed"),
    "ResNet152": Application("caffe"),
    "ResNet152V2": Application("signed"),
    "ResNet50": Application("caffe"),
    "ResNet50V2": Application("signed"),
    "VGG16": Application("caffe"),
    "VGG19": Application("caffe"),
    "Xception": Application("signed", 299),
}
"""The names are those of Keras 3.15.1; pixels and sizes are those of each `preprocess_input`."""


def preprocess(images: Any, pixels: Pixels) -> Any:
    """Preprocesses pixels for a model of `keras.applications`, with plain Keras layers.

    Args:
        images: `[batch, height, width, 3]`, pixels 0 .. 255 in the order red, green, blue.
        pixels: The preprocessing.
    """
    if pixels == "inside":
        return images
    if pixels == "signed":
        return keras.layers.Rescaling(2 / MAX_PIXEL, -1.0, name="pixels_signed")(images)
    if pixels == "torch":
        return keras.layers.Rescaling(
            [1 / (MAX_PIXEL * d) for d in IMAGENET_STANDARD_DEVIATION],
            [-m / d for m, d in zip(IMAGENET_MEAN, IMAGENET_STANDARD_DEVIATION, strict=True)],
            name="pixels_torch",
        )(images)
    # `flip` is an operation, not a layer, but Keras saves it as well.
    reversed_channels = keras.ops.flip(images, axis=-1)
    return keras.layers.Rescaling(
        [1.0, 1.0, 1.0], [-mean for mean in CAFFE_MEAN], name="pixels_caffe"
    )(reversed_channels)
