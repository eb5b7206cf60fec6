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
        num_parameters: Trainable parameters, with a last layer for 1,000 classes.
        image_size: Height and width that it was designed for.
    """

    pixels: Pixels
    num_parameters: int
    image_size: int = 224


APPLICATIONS: dict[ApplicationName, Application] = {
    "ConvNeXtBase": Application("inside", 88_591_464),
    "ConvNeXtLarge": Application("inside", 197_767_336),
    "ConvNeXtSmall": Application("inside", 50_223_688),
    "ConvNeXtTiny": Application("inside", 28_589_128),
    "ConvNeXtXLarge": Application("inside", 350_196_968),
    "DenseNet121": Application("torch", 7_978_856),
    "DenseNet169": Application("torch", 14_149_480),
    "DenseNet201": Application("torch", 20_013_928),
    "EfficientNetB0": Application("inside", 5_288_548),
    "EfficientNetB1": Application("inside", 7_794_184, 240),
    "EfficientNetB2": Application("inside", 9_109_994, 260),
    "EfficientNetB3": Application("inside", 12_233_232, 300),
    "EfficientNetB4": Application("inside", 19_341_616, 380),
    "EfficientNetB5": Application("inside", 30_389_784, 456),
    "EfficientNetB6": Application("inside", 43_040_704, 528),
    "EfficientNetB7": Application("inside", 66_347_960, 600),
    "EfficientNetV2B0": Application("inside", 7_139_704),
    "EfficientNetV2B1": Application("inside", 8_141_052, 240),
    "EfficientNetV2B2": Application("inside", 10_096_086, 260),
    "EfficientNetV2B3": Application("inside", 14_358_406, 300),
    "EfficientNetV2L": Application("inside", 118_515_272, 480),
    "EfficientNetV2M": Application("inside", 54_139_356, 480),
    "EfficientNetV2S": Application("inside", 21_458_488, 384),
    "InceptionResNetV2": Application("signed", 55_813_192, 299),
    "InceptionV3": Application("signed", 23_817_352, 299),
    "MobileNet": Application("signed", 4_231_976),
    "MobileNetV2": Application("signed", 3_504_872),
    "MobileNetV3Large": Application("inside", 5_483_032),
    "MobileNetV3Small": Application("inside", 2_542_856),
    "NASNetLarge": Application("signed", 88_753_150, 331),
    "NASNetMobile": Application("signed", 5_289_978),
    "ResNet101": Application("caffe", 44_601_832),
    "ResNet101V2": Application("signed", 44_577_896),
    "ResNet152": Application("caffe", 60_268_520),
    "ResNet152V2": Application("signed", 60_236_904),
    "ResNet50": Application("caffe", 25_583_592),
    "ResNet50V2": Application("signed", 25_568_360),
    "VGG16": Application("caffe", 138_357_544),
    "VGG19": Application("caffe", 143_667_240),
    "Xception": Application("signed", 22_855_952, 299),
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
