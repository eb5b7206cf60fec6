"""Which images are evaluated, and how their classes are matched with those of the model."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hvd_imgcls.data import ImageSource
from hvd_imgcls.data.order.splits import SPLITS
from hvd_imgcls.data.sources.evaluated import all_as_held_out, with_classes
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.workflows.evaluating.class_matching import OPTION, match_classes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What `evaluate` evaluates.

    Attributes:
        class_names: Classes of the model; empty to take them from the files next to it.
        class_map: `OLD=NEW` for classes that are called OLD in the model and NEW in the images.
        split: The held-out images, or all of them. None: all if they are other images than those
            of the run and their source would hold out a random fraction, else the held-out ones.
        has_other_images: Whether they are other images than those of the run.
    """

    class_names: tuple[str, ...] = ()
    class_map: tuple[str, ...] = ()
    split: Literal["held_out", "all"] | None = None
    has_other_images: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """The images that are evaluated, as the held-out split of a source.

    Attributes:
        source: The images.
        what: What the accuracy is called: that of held-out images or not.
        how_many: How many of how many images they are, as a phrase.
    """

    source: ImageSource
    what: str
    how_many: str


def choose_images(source: ImageSource, choice: Choice) -> Chosen:
    """Returns the images to evaluate: the held-out ones, or all of them.

    Raises:
        ConfigError: If all are requested of images that are divided over hosts.
    """
    held_out, total = source.num_examples("held_out"), sum(map(source.num_examples, SPLITS))
    takes_all = choice.has_other_images and source.is_split_at_random
    if choice.split != "all" and not (choice.split is None and takes_all):
        how_many = f"{held_out:,} of {total:,} images: the held-out split"
        if choice.has_other_images and held_out < total:
            how_many += "; --split all evaluates all of them"
        return Chosen(source=source, what="held-out accuracy", how_many=how_many)
    if source.division is not None:
        raise ConfigError(
            "--split",
            got="all",
            expected="held_out for images that are divided over hosts",
            fix="omit it, or set data.placement.name to shared",
        )
    return Chosen(
        source=all_as_held_out(source),
        what="accuracy",
        how_many=f"{total:,} of {total:,} images",
    )


def with_classes_of_model(
    source: ImageSource, choice: Choice, class_names: tuple[str, ...]
) -> ImageSource:
    """Returns the images with labels that are indices into the classes of the model.

    Args:
        source: The images.
        choice: Renamed classes.
        class_names: Classes of the model; empty if unknown: then nothing can be compared.

    Raises:
        ConfigError: If classes are renamed wrongly, or those of the model are unknown.
        DataError: If the images have classes that the model does not know.
    """
    if not class_names:
        if choice.class_map:
            raise ConfigError(
                OPTION,
                got=choice.class_map[0],
                expected="a model with known classes",
                fix="add --classes FILE with the names of the model's classes",
            )
        logger.info(
            "note: the names of the model's classes are unknown; its outputs are taken to be "
            "those of the images, in their order (add --classes FILE to match them by name)"
        )
        return source
    names = source.class_names
    counts = np.bincount(source.labels("held_out"), minlength=len(names))
    matched = match_classes(names, class_names, choice.class_map, counts=counts.tolist())
    return with_classes(source, class_names, matched)
