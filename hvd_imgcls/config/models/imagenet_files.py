"""Names of the files with ImageNet weights that Keras downloads, without importing Keras."""

from __future__ import annotations

import os
import re
from pathlib import Path

from hvd_imgcls.config.models.applications import ApplicationName

IMAGENET = "imagenet"
"""Value of `model.weights` that stands for the published weights."""

NUM_IMAGENET_CLASSES = 1000

# Their top has layers before the last one, whose weights only the file of the whole model has.
_WITH_MORE_TOP_LAYERS = ("MobileNetV3Large", "MobileNetV3Small", "VGG16", "VGG19")

# Image sizes of which MobileNet and MobileNetV2 have weights of their own; others take 224's.
_MOBILENET_SIZES = {
    "MobileNet": (128, 160, 192, 224),
    "MobileNetV2": (96, 128, 160, 192, 224),
}
_MOBILENET_DEFAULT_SIZE = 224


def has_top(application: ApplicationName, num_classes: int) -> bool:
    """Returns whether the file of the whole model is used, instead of the one without its top."""
    return num_classes == NUM_IMAGENET_CLASSES or application in _WITH_MORE_TOP_LAYERS


def imagenet_file_name(
    application: ApplicationName, image_size: tuple[int, int], num_classes: int
) -> str:
    """Returns the name of the file, as in Keras 3.15.1 (`keras/src/applications`).

    Args:
        application: The model.
        image_size: Height and width of the images.
        num_classes: Number of classes.
    """
    with_top = has_top(application, num_classes)
    lower = application.lower()
    if application in _MOBILENET_SIZES:
        height, width = image_size
        is_special = height == width and height in _MOBILENET_SIZES[application]
        size = height if is_special else _MOBILENET_DEFAULT_SIZE
        end = "" if with_top else "_no_top"
        if application == "MobileNet":
            return f"mobilenet_1_0_{size}_tf{end}.h5"
        return f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{size}{end}.h5"
    if application.startswith("MobileNetV3"):
        kind = lower.removeprefix("mobilenetv3")
        end = "" if with_top else "_no_top_v2"
        return f"weights_mobilenet_v3_{kind}_224_1.0_float{end}.h5"
    if application.startswith("NASNet"):
        end = "" if with_top else "_no_top"
        return f"nasnet_{lower.removeprefix('nasnet')}{end}.h5"
    end = "" if with_top else "_notop"
    if application.startswith(("EfficientNet", "ConvNeXt")):
        lower = lower.replace("efficientnetv2", "efficientnetv2-").replace("convnext", "convnext_")
        return f"{lower}{end}.h5"
    # InceptionV3 is inception_v3, InceptionResNetV2 inception_resnet_v2, ResNet50V2 resnet50v2.
    if application.startswith("Inception"):
        lower = re.sub(r"(?<=.)(resnet|v\d)", r"_\1", lower)
    return f"{lower}_weights_tf_dim_ordering_tf_kernels{end}.h5"


def keras_models_folder() -> Path:
    """Returns the folder where Keras keeps downloaded weights: `$KERAS_HOME/models`.

    As in `keras/src/backend/config.py`: without that variable `~/.keras`, or `/tmp/.keras` if
    the home directory is not writable.
    """
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"]).expanduser().absolute() / "models"
    home = Path("~").expanduser()
    return (home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras" / "models"
