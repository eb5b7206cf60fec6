"""Where the images are, seen from the ranks: chosen by `data.placement.name`."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, NonEmptyStr, Probability


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Shared:
    """Every rank sees all images."""

    name: Literal["shared"] = "shared"
    """Which placement this is."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Horizontal:
    """Every host has its part of the record files on its own disk.

    `hvd-imgcls prepare SOURCE DEST --hosts N` says which files go to which host.
    """

    name: Literal["horizontal"]
    """Which placement this is."""

    exchange: Probability = 0.0
    """Fraction of every epoch's slots that are filled with images from all hosts.

    Their bytes travel over the network in every epoch. 0 shuffles inside of every host only,
    1 shuffles over all images (Nguyen et al. 2022, "Why globally re-shuffle?").
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Vertical:
    """Labels come from a table of their own, not from the record files.

    One set of record files then serves several sets of labels. The root reads the table and
    sends it to the other ranks once.
    """

    name: Literal["vertical"]
    """Which placement this is."""

    table: NonEmptyStr
    """The table: a `.csv` file with a header, or a `.parquet` file. `~` is the home directory."""

    id_column: NonEmptyStr = "path"
    """Column with the name of the image, as in the column `name` of the record files' index."""

    label_column: NonEmptyStr = "label"
    """Column with the labels: names of classes, or whole numbers from 0."""

    class_name_column: NonEmptyStr = "class_name"
    """Column with the names of the classes, where labels are numbers. It may be missing."""

    class_names: tuple[NonEmptyStr, ...] | None = None
    """The class list, in the order of the labels. Without it, as for the source `manifest`."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Hybrid:
    """Both: record files divided over hosts, and labels from a table of their own."""

    name: Literal["hybrid"]
    """Which placement this is."""

    table: NonEmptyStr
    """The table, as for `vertical`. Only the root's host needs it."""

    exchange: Probability = 0.0
    """Fraction of every epoch's slots filled from all hosts, as for `horizontal`."""

    id_column: NonEmptyStr = "path"
    """Column with the name of the image, as in the column `name` of the record files' index."""

    label_column: NonEmptyStr = "label"
    """Column with the labels: names of classes, or whole numbers from 0."""

    class_name_column: NonEmptyStr = "class_name"
    """Column with the names of the classes, where labels are numbers. It may be missing."""

    class_names: tuple[NonEmptyStr, ...] | None = None
    """The class list, in the order of the labels. Without it, as for the source `manifest`."""


Placement = Annotated[Shared | Horizontal | Vertical | Hybrid, pydantic.Field(discriminator="name")]
