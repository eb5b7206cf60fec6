"""`hvd-imgcls models [--all] [--image-size N] [--channels C] [--classes N] [--json]`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hvd_imgcls.commands.plan import positive
from hvd_imgcls.environment.topology import launched_rank_and_size
from hvd_imgcls.logs import Verbosity
from hvd_imgcls.tensorflow_import import import_tensorflow_quietly

if TYPE_CHECKING:
    from hvd_imgcls.models.listing import Row

EPILOG = (
    "Counts trainable parameters, and the multiply-adds of convolutions, dense layers and\n"
    "attention for one image. By default, for each model's usual images (32 by 32 pixels and\n"
    "10 classes, or 224 by 224 and 1,000) and the model's default sizes."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `models`."""
    parser.epilog = EPILOG
    parser.add_argument(
        "--all",
        action="store_true",
        help="build all keras.applications models for their multiply-adds (takes a minute or two)",
    )
    parser.add_argument(
        "--image-size", type=positive, metavar="N", help="height and width of the images"
    )
    parser.add_argument(
        "--channels",
        type=int,
        choices=(1, 3),
        default=3,
        help="channels of the images (default: 3)",
    )
    parser.add_argument("--classes", type=positive, metavar="N", help="number of classes")
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Prints the list, only on the root if several ranks were launched."""
    rank, _ = launched_rank_and_size()
    if rank != 0:
        return
    import_tensorflow_quietly(arguments.verbosity)
    from hvd_imgcls.models.applications.known import APPLICATIONS
    from hvd_imgcls.models.keras_hub_presets import INSTALL
    from hvd_imgcls.models.listing import (
        Request,
        known_applications,
        known_presets,
        list_applications,
        list_models,
    )

    request = Request(
        image_size=arguments.image_size,
        num_channels=arguments.channels,
        num_classes=arguments.classes,
    )
    rows = list(list_models(request))
    applications: list[Row] = [] if arguments.all else list(known_applications())
    if arguments.all:
        for number, row in enumerate(list_applications(request), start=1):
            if arguments.verbosity is not Verbosity.QUIET:
                sys.stderr.write(f"{row.name} ({number} of {len(APPLICATIONS)})\n")
            applications.append(row)
    presets = list(known_presets())
    if arguments.json:
        tree: dict[str, Any] = {
            "models": [dataclasses.asdict(row) for row in rows],
            "applications": [dataclasses.asdict(row) for row in applications],
            "presets": [dataclasses.asdict(row) for row in presets],
        }
        sys.stdout.write(json.dumps(tree, indent=2) + "\n")
        return
    sys.stdout.write(_table(rows))
    more = "" if arguments.all else " (--all shows all numbers, for your images)"
    sys.stdout.write(f"\nmodel.application, for keras_application{more}:\n{_table(applications)}")
    sys.stdout.write(f"\nmodel.preset, for keras_hub{_presets(presets, INSTALL)}")


def _presets(rows: Sequence[Row], install: str) -> str:
    """Returns the list of KerasHub's presets, one per line."""
    if not rows:
        return f": {install} to use and list them\n"
    width = max(len(row.name) for row in rows)
    lines = [f"{row.name:<{width}}  {row.num_parameters or 0:>13,}" for row in rows]
    heading = f"{'name':<{width}}  {'parameters':>13}"
    return "\n".join([", downloaded from Kaggle:", heading, *lines]) + "\n"


def _table(rows: Sequence[Row]) -> str:
    """Returns the list as text, one line per model."""
    heading = ("name", "image", "classes", "parameters", "multiply-adds", "")
    cells = [heading, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    lines = []
    for name, *numbers, description in cells:
        right = "  ".join(
            f"{number:>{width}}" for number, width in zip(numbers, widths[1:], strict=True)
        )
        lines.append(f"{name:<{widths[0]}}  {right}  {description}".rstrip())
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    if row.num_trainable_parameters is None:
        nothing = ("-",) * 4
        return row.name, *nothing, row.problem or row.description
    return (
        row.name,
        f"{row.image_size} x {row.image_size} x {row.num_channels}",
        f"{row.num_classes:,}",
        f"{row.num_trainable_parameters:,}",
        "-" if row.multiply_adds is None else short(row.multiply_adds),
        row.description,
    )


def short(count: int) -> str:
    """Returns a number with three significant digits and its unit.

    >>> short(4_089_184_256), short(40_551_040), short(2_096)
    ('4.09 G', '40.6 M', '2.10 k')
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            value = count / size
            digits = 2 if value < 10 else 1 if value < 100 else 0
            return f"{value:.{digits}f} {unit}"
    return str(count)
