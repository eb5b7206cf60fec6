"""How images and labels are distributed over the hosts: `data.placement.name`."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

from hvd_imgcls.config.sections import STRICT, NonEmptyStr, Probability


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Shared:
    """Every rank can read all images."""

    name: Literal["shared"] = "shared"
    """Name of the placement."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Horizontal:
    """Every host stores its own part of the record files on its local disk.

    `hvd-imgcls prepare SOURCE DEST --hosts N` assigns files to hosts.
    """

    name: Literal["horizontal"]
    """Name of the placement."""

    exchange: Probability = 0.0
    """Fraction of every epoch's slots that are filled with images from all hosts.

    The encoded images are sent over the network in every epoch. 0 shuffles only within each host,
    1 shuffles over all images (Nguyen et al. 2022, "Why globally re-shuffle?").
    """


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class _LabelTable:
    """A placement whose labels come from a table."""

    name: str
    """Name of the placement."""

    table: NonEmptyStr
    """The table: a `.csv` file with a header, or a `.parquet` file. `~` is the home directory."""

    id_column: NonEmptyStr = "path"
    """Column with the image names, as in the column `name` of the record files' index."""

    label_column: NonEmptyStr = "label"
    """Column with the labels: class names, or integers from 0."""

    class_name_column: NonEmptyStr = "class_name"
    """Column with the class names, if the labels are integers. Optional."""

    class_names: tuple[NonEmptyStr, ...] | None = None
    """Class list, in the order of the labels. Without it, as for the source `manifest`."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Vertical(_LabelTable):
    """Labels come from a separate table instead of the record files.

    One set of record files can then be used with several sets of labels. The root reads the table
    and sends it to the other ranks once.
    """

    name: Literal["vertical"]
    """Name of the placement."""


@dataclass(config=STRICT, frozen=True, kw_only=True, slots=True)
class Hybrid(_LabelTable):
    """Record files divided over hosts, and labels from a separate table."""

    name: Literal["hybrid"]
    """Name of the placement."""

    table: NonEmptyStr
    """The table, as for `vertical`. Only the root's host needs it."""

    exchange: Probability = 0.0
    """Fraction of every epoch's slots filled from all hosts, as for `horizontal`."""


Placement = Annotated[Shared | Horizontal | Vertical | Hybrid, pydantic.Field(discriminator="name")]
