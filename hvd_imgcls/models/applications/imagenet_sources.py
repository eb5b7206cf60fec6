"""Where Keras downloads ImageNet weights from, and the hashes that it checks them with."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import keras

from hvd_imgcls.config.models.applications import ApplicationName
from hvd_imgcls.config.models.imagenet_files import has_top, imagenet_file_name


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedFile:
    """A file with ImageNet weights.

    Attributes:
        name: Its name in Keras's folder.
        url: Where Keras downloads it from.
        hash: SHA-256 or MD5 in hexadecimal; None for MobileNet and MobileNetV2, of which Keras
            has none.
    """

    name: str
    url: str
    hash: str | None


# Hashes that Keras 3.15.1 has only in the code of its functions, with and without top.
_HASHES: dict[str, tuple[str, str]] = {
    "DenseNet121": ("9d60b8095a5708f2dcce2bca79d332c7", "30ee3e1110167f948a6b9946edeeb738"),
    "DenseNet169": ("d699b8f76981ab1b30698df4c175e90b", "b8c4d4c20dd625c148057b9ff1c1176b"),
    "DenseNet201": ("1ceb130c1ea1b78c3bf6114dbdfd8807", "c13680b51ded0fb44dff2d8f86ac8bb1"),
    "InceptionResNetV2": ("e693bd0210a403b3192acc6073ad2e96", "d19885ff4a710c122648d3b5c3b684e4"),
    "InceptionV3": ("9a0d58056eeedaa3f26cb7ebd46da564", "bcbd6486424b2319ff4ef7d526e38f63"),
    "NASNetLarge": ("11577c9a518f0070763c2b964a382f17", "d81d89dc07e6e56530c4e77faddd61b5"),
    "NASNetMobile": ("020fb642bf7360b370c678b08e0adf61", "1ed92395b5b598bdda52abe5c0dbfd63"),
    "VGG16": ("64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"),
    "VGG19": ("cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6"),
    "Xception": ("0a58e3b7378bc2990ea3b43d5981f1f6", "b0042744bf5b25fce3cb969f33bebb97"),
}


def published_file(
    application: ApplicationName, image_size: tuple[int, int], num_classes: int
) -> PublishedFile:
    """Returns the file with the ImageNet weights of a model.

    Addresses and tables of hashes are read from Keras when this is called.

    Args:
        application: The model.
        image_size: Height and width of the images.
        num_classes: Number of classes.
    """
    name = imagenet_file_name(application, image_size, num_classes)
    module = _module_of(application)
    with_top = has_top(application, num_classes)
    return PublishedFile(
        name=name,
        url=_url(application, name, module, with_top=with_top),
        hash=_hash(application, module, with_top=with_top),
    )


def _module_of(application: ApplicationName) -> Any:
    """Returns the module of Keras that defines a model and downloads its weights."""
    module = sys.modules[getattr(keras.applications, application).__module__]
    # The functions in `resnet_v2` call the one in `resnet`, which downloads.
    return getattr(module, "resnet", module)


def _url(application: ApplicationName, name: str, module: Any, *, with_top: bool) -> str:
    if application.startswith("NASNet"):
        kind = application.removeprefix("NASNet").upper()
        return str(getattr(module, f"NASNET_{kind}_WEIGHT_PATH{'' if with_top else '_NO_TOP'}"))
    if hasattr(module, "WEIGHTS_PATH"):
        return str(module.WEIGHTS_PATH if with_top else module.WEIGHTS_PATH_NO_TOP)
    for base in ("BASE_WEIGHTS_PATH", "BASE_WEIGHT_PATH", "BASE_WEIGHT_URL"):
        if hasattr(module, base):
            return f"{getattr(module, base)}{name}"
    raise AttributeError(f"{module.__name__} has no address of weights: another version of Keras?")


def _hash(application: ApplicationName, module: Any, *, with_top: bool) -> str | None:
    hashes = getattr(module, "WEIGHTS_HASHES", None)
    pair = _HASHES.get(application) if hashes is None else hashes[_key_of(application)]
    return None if pair is None else str(pair[0 if with_top else 1])


def _key_of(application: ApplicationName) -> str:
    """Returns the key of a model in Keras's table of hashes."""
    lower = application.lower()
    if lower.startswith("efficientnetv2"):
        kind = lower.removeprefix("efficientnetv2")
        return kind if kind.startswith("b") else f"-{kind}"
    if lower.startswith("mobilenetv3"):
        return f"{lower.removeprefix('mobilenetv3')}_224_1.0_float"
    return lower.removeprefix("efficientnet").replace("convnext", "convnext_")
