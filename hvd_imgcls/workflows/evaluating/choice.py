"""Which images are evaluated, and how their classes are matched with those of the model."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from hvd_imgcls.data import ImageSource
from hvd_imgcls.data.sources.evaluated import with_classes
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.workflows.evaluating.class_matching import OPTION, match_classes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What `evaluate` evaluates.

    Attributes:
        class_names: Classes of the model; empty to take them from the files next to it.
        class_map: `OLD=NEW` for classes that are called OLD in the model and NEW in the images.
    """

    class_names: tuple[str, ...] = ()
    class_map: tuple[str, ...] = ()


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
