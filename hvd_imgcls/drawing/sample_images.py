"""Draws contact sheets of training batches and of predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.special
from PIL import Image

from hvd_imgcls.drawing.contact_sheet import Tile, blended, draw_sheet, plain_name

Images = npt.NDArray[np.uint8]


def draw_batch(
    images: Images, targets: npt.NDArray[np.float32], class_names: Sequence[str]
) -> Image.Image:
    """Draws images as the network receives them, each with its target.

    Args:
        images: `[batch, height, width, 1 or 3]`, uint8.
        targets: `[batch, num_classes]`, float32. Not drawn if they have another shape.
        class_names: `[num_classes]`.
    """
    names = _plain_names(class_names)
    has_classes = targets.ndim == 2 and targets.shape[1] == len(names)
    tiles = [
        Tile(image=image, lines=_classes(targets[i], names) if has_classes else ())
        for i, image in enumerate(images)
    ]
    return _sheet(tiles, "first training batch", "first images on the root, after augmentation")


def draw_predictions(
    images: Images,
    labels: npt.NDArray[np.integer],
    logits: npt.NDArray[np.floating],
    class_names: Sequence[str],
) -> Image.Image:
    """Draws held-out images with the predicted class and, if that is wrong, the true class.

    Args:
        images: `[batch, height, width, 1 or 3]`, uint8.
        labels: `[batch]`.
        logits: `[batch, num_classes]`.
        class_names: `[num_classes]`.
    """
    names = _plain_names(class_names)
    probabilities = scipy.special.softmax(logits.astype(np.float64), axis=-1)
    predicted = logits.argmax(axis=-1)
    tiles = []
    for image, label, guess, of_classes in zip(
        images, labels, predicted, probabilities, strict=True
    ):
        verdict = "correct" if guess == label else f"WRONG: true {names[label]}"
        prediction = (names[guess], f" {of_classes[guess]:.2f}")
        tiles.append(Tile(image=image, lines=(prediction, (verdict, ""))))
    num_right = int((predicted == labels).sum())
    caption = (
        "predicted class with its probability, and whether it is correct; "
        f"{num_right} of these {len(tiles)} are"
    )
    return _sheet(tiles, "held-out images", caption)


def _sheet(tiles: list[Tile], title: str, caption: str) -> Image.Image:
    side = max(tiles[0].image.shape[:2]) if tiles[0].image is not None else 1
    return draw_sheet(
        [[tile] for tile in tiles], headings=[""], title=title, caption=[caption], side=side
    )


def _plain_names(class_names: Sequence[str]) -> list[str]:
    return [plain_name(name, label) for label, name in enumerate(class_names)]


def _classes(target: npt.NDArray[np.float32], names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Returns the classes of a target with their weights; a single class without its weight."""
    parts = blended(target, names)
    return ((parts[0][0], ""),) if len(parts) == 1 else parts
