"""Chooses the settings of a pipeline from what is in the folder and from the measured speed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hvd_imgcls.workflows.initializing.looking import Seen

SMALL_SIDE = 64
"""Images up to this shorter side, in pixels, are trained from scratch with a network for them."""
PRETRAINED_SIZES = (224, 192, 160, 128, 96)
"""Sizes for which MobileNetV2 has published weights."""
IMBALANCE = 3
"""The largest class has at least so many times the images of the smallest: weights are balanced."""
MIN_STEPS_PER_EPOCH = 10
MIN_EPOCHS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The settings that depend on the images.

    Attributes:
        image_size: Height and width, in pixels.
        num_channels: 1 or 3.
        is_small: Whether it is a network for small images.
        is_pretrained: Whether it starts from ImageNet weights.
        batch_size: Global batch size.
        num_epochs: Epochs.
        is_balanced: Whether classes are weighted.
    """

    image_size: int
    num_channels: int
    is_small: bool
    is_pretrained: bool
    batch_size: int
    num_epochs: int
    is_balanced: bool

    def data(self, seen: Seen) -> dict[str, Any]:
        """Returns the section `data`."""
        source: dict[str, Any] = {"name": "image_folder", "path": seen.source.path}
        if seen.source.train_folder is None:
            source["held_out_fraction"] = seen.source.held_out_fraction
        else:
            source["train_folder"] = seen.source.train_folder
            source["held_out_folder"] = seen.source.held_out_folder
        channels = {"num_channels": 1} if self.num_channels == 1 else {}
        return {"source": source, "image_size": self.image_size, **channels}


def choose(seen: Seen, *, from_scratch: bool = False) -> Choice:
    """Returns the settings for a folder, before the speed is known.

    Args:
        seen: What is in the folder.
        from_scratch: Whether not to use pretrained weights.
    """
    is_small = seen.median_side <= SMALL_SIDE
    is_pretrained = not is_small and not from_scratch
    if is_small:
        image_size = max(24, seen.median_side // 4 * 4)
    else:
        fitting = [size for size in PRETRAINED_SIZES if size <= seen.median_side]
        image_size = fitting[0] if fitting else PRETRAINED_SIZES[-1]
    largest = seen.num_train // MIN_STEPS_PER_EPOCH
    batch_size = 128 if is_small else 64
    while batch_size > max(largest, 4):
        batch_size //= 2
    fewest, most = min(seen.train_counts), max(seen.train_counts)
    return Choice(
        image_size=image_size,
        num_channels=1 if seen.is_grey and not is_pretrained else 3,
        is_small=is_small,
        is_pretrained=is_pretrained,
        batch_size=batch_size,
        num_epochs=_num_epochs(seen.num_train, is_pretrained=is_pretrained),
        is_balanced=most >= IMBALANCE * max(fewest, 1),
    )


def _num_epochs(num_train: int, *, is_pretrained: bool) -> int:
    """Returns more epochs for fewer images, within bounds."""
    images, most = (20_000, 30) if is_pretrained else (300_000, 60)
    return max(10, min(most, images // max(num_train, 1)))


def fit_into(choice: Choice, seconds: float, budget_seconds: float) -> Choice:
    """Returns a choice that takes at most a given time, as far as its bounds allow.

    First smaller images, whose time is taken to be proportional to their pixels, then fewer epochs.

    Args:
        choice: What was measured.
        seconds: Its estimated time.
        budget_seconds: The time there is.
    """
    if not choice.is_small:
        for size in (size for size in PRETRAINED_SIZES if size < choice.image_size):
            if seconds <= budget_seconds:
                return choice
            seconds *= (size / choice.image_size) ** 2
            choice = replace(choice, image_size=size)
    if seconds > budget_seconds:
        fewer = int(choice.num_epochs * budget_seconds / seconds)
        choice = replace(choice, num_epochs=max(MIN_EPOCHS, fewer))
    return choice
