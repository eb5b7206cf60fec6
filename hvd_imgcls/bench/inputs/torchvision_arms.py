"""The arms of row i of `bench input` that use torchvision: batches from JPEG files.

    python torchvision_arms.py CORE pil|tensors uint8|float WORKERS FOLDER IMAGES BATCH

Runs in an environment with torchvision and imports nothing of this package except the protocol of
the turns. `pil` are torchvision's usual transforms of PIL images, `tensors` decodes with
torchvision and applies the transforms of version 2 to tensors.
"""

from __future__ import annotations

import itertools
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch.utils.data import DataLoader, RandomSampler
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

IMAGE_SIZE = 224
_EPOCHS = 1_000_000
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_PROTOCOL = Path(__file__).parents[1] / "measuring" / "window.py"


def of_pil_images(folder: Path, *, as_floats: bool) -> ImageFolder:
    """Returns a dataset with random resized crop and flip of PIL images.

    Args:
        folder: Class folders.
        as_floats: Whether images are normalised float32 instead of uint8.
    """
    steps: list[Any] = [
        transforms.RandomResizedCrop(IMAGE_SIZE, antialias=True),
        transforms.RandomHorizontalFlip(),
    ]
    if as_floats:
        steps += [transforms.ToTensor(), transforms.Normalize(_MEAN, _DEVIATION)]
    else:
        steps.append(transforms.PILToTensor())
    return ImageFolder(str(folder), transforms.Compose(steps))


def of_tensors(folder: Path, *, as_floats: bool) -> ImageFolder:
    """Returns the same with torchvision's decoder and transforms of tensors.

    Args:
        folder: Class folders.
        as_floats: Whether images are normalised float32 instead of uint8.
    """
    steps: list[Any] = [
        v2.RandomResizedCrop(IMAGE_SIZE, antialias=True),
        v2.RandomHorizontalFlip(),
    ]
    if as_floats:
        steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(_MEAN, _DEVIATION)]

    def load(path: str) -> Any:
        contents = torchvision.io.read_file(path)
        return torchvision.io.decode_jpeg(contents, mode=torchvision.io.ImageReadMode.RGB)

    return ImageFolder(str(folder), v2.Compose(steps), loader=load)


DATASETS: dict[str, Callable[..., ImageFolder]] = {"pil": of_pil_images, "tensors": of_tensors}


def main(words: list[str]) -> None:
    """Runs one arm."""
    core, kind, value, workers, folder, images, batch = words
    turns = runpy.run_path(str(_PROTOCOL))["Turns"](int(core))
    torch.set_num_threads(1)
    dataset = DATASETS[kind](Path(folder), as_floats=value == "float")
    # Every epoch has its own order, and the iterator is kept.
    sampler = RandomSampler(dataset, num_samples=len(dataset) * _EPOCHS)
    loader = DataLoader(
        dataset, int(batch), sampler=sampler, num_workers=int(workers), drop_last=True
    )
    batches = iter(loader)

    def work() -> int:
        for _ in itertools.repeat(None, int(images) // int(batch)):
            next(batches)
        return int(images)

    turns.serve(work)


if __name__ == "__main__":
    main(sys.argv[1:])
