"""The arms of row j of `bench input` that use FFCV: writing its files, and batches from them.

    python ffcv_arms.py write FOLDER FILE PART_OF_JPEG
    python ffcv_arms.py CORE uint8|float FILE IMAGES BATCH

Runs in an environment with FFCV and imports nothing of this package except the protocol of the
turns. Files are written as FFCV's own ImageNet files are: at most 500 pixels, a part of the
images as JPEG of quality 90, the others as pixels.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter
from torchvision.datasets import ImageFolder

IMAGE_SIZE, MAX_SIDE, QUALITY = 224, 500, 90
_MEAN, _DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_PROTOCOL = Path(__file__).parents[1] / "measuring" / "window.py"


def write(folder: str, file: str, part_of_jpeg: float) -> None:
    """Writes a file with the images of class folders.

    Args:
        folder: Class folders.
        file: The file.
        part_of_jpeg: Part of the images that is written as JPEG, 0 to 1.
    """
    image = RGBImageField(
        write_mode="proportion",
        max_resolution=MAX_SIDE,
        compress_probability=part_of_jpeg,
        jpeg_quality=QUALITY,
    )
    writer = DatasetWriter(file, {"image": image, "label": IntField()}, num_workers=1)
    writer.from_indexed_dataset(ImageFolder(folder))


def loader_of(file: str, batch_size: int, *, as_floats: bool) -> Any:
    """Returns FFCV's loader with random resized crop and flip, from memory, in random order.

    Args:
        file: Written by `write`.
        batch_size: Images per batch.
        as_floats: Whether images are normalised float32 instead of uint8.
    """
    decoder = RandomResizedCropRGBImageDecoder((IMAGE_SIZE, IMAGE_SIZE))
    image: list[Any] = [decoder, RandomHorizontalFlip()]
    if as_floats:
        # Compiled on the CPU: behind `ToTensor`, which is not, FFCV 1.0.2 never gets ready.
        image.append(NormalizeImage(np.array(_MEAN), np.array(_DEVIATION), np.float32))
    image += [ToTensor(), ToTorchImage()]
    return Loader(
        file,
        batch_size=batch_size,
        num_workers=1,
        os_cache=True,
        order=OrderOption.RANDOM,
        drop_last=True,
        pipelines={"image": image, "label": [IntDecoder(), ToTensor()]},
    )


def main(words: list[str]) -> None:
    """Writes a file, or runs one arm."""
    if words[0] == "write":
        write(words[1], words[2], float(words[3]))
        return
    core, value, file, images, batch = words
    turns = runpy.run_path(str(_PROTOCOL))["Turns"](int(core))
    loader = loader_of(file, int(batch), as_floats=value == "float")

    def work() -> int:
        taken = 0
        while taken < int(images):
            for _ in loader:
                taken += int(batch)
        return taken

    turns.serve(work)


if __name__ == "__main__":
    main(sys.argv[1:])
