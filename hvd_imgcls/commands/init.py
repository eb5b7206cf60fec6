"""`hvd-imgcls init FOLDER [--out FILE]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hvd_imgcls.commands.plan import measured_costs, positive
from hvd_imgcls.config import parse_config
from hvd_imgcls.environment.topology import Topology, launched_rank_and_size
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.files.atomic import write_text
from hvd_imgcls.plan import Plan, available_cores
from hvd_imgcls.text.numbers import duration
from hvd_imgcls.workflows.startup.images import open_run_images, plan_run

if TYPE_CHECKING:
    from hvd_imgcls.workflows.initializing.choosing import Choice


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `init`."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="one folder of images per class, or train and val with such folders",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="pipeline file to write; default: FOLDER's name"
    )
    parser.add_argument("--force", action="store_true", help="overwrite the file if it exists")
    parser.add_argument(
        "--from-scratch", action="store_true", help="do not start from pretrained weights"
    )
    parser.add_argument(
        "--minutes",
        type=positive,
        default=60,
        help="time for the run on this machine, as one rank (default: 60)",
    )
    parser.add_argument(
        "--no-measure", action="store_true", help="do not train a few steps to measure the speed"
    )


def run(arguments: argparse.Namespace) -> None:
    """Writes a pipeline file. Root only: a no-op elsewhere."""
    rank, _ = launched_rank_and_size()
    if rank != 0:
        return
    from hvd_imgcls.workflows.initializing.choosing import choose
    from hvd_imgcls.workflows.initializing.looking import look_at
    from hvd_imgcls.workflows.initializing.writing import pipeline_text

    out = _place_of(arguments)
    seen = look_at(arguments.folder)
    choice = choose(seen, from_scratch=arguments.from_scratch)
    lines: list[str] = []
    if not arguments.no_measure:
        sys.stdout.write("measuring a few steps, which takes up to a minute\n")
        sys.stdout.flush()
        choice, lines = _measure(pipeline_text(seen, choice), choice, arguments)
    text = pipeline_text(seen, choice, lines)
    parse_config(text, origin=str(out))
    write_text(out, text)
    sys.stdout.write(
        "".join(line + "\n" for line in text.splitlines() if line.startswith("# "))
        + f"written to {out}; next:\n"
        f"  hvd-imgcls show-data {out} --out sheet.png    # what the network will see\n"
        f"  horovodrun -np 2 hvd-imgcls train {out}    # on two ranks\n"
    )


def _place_of(arguments: argparse.Namespace) -> Path:
    """Returns the file to write.

    Raises:
        ConfigError: If it exists, or its folder does not.
    """
    name = arguments.folder.expanduser().resolve().name or "images"
    out: Path = arguments.out or Path(f"{name}.yaml")
    if out.exists() and not arguments.force:
        raise ConfigError(
            "--out",
            got=f"{out}, which exists",
            expected="a new file",
            fix="choose another one, or add --force",
        )
    if not out.parent.is_dir():
        raise ConfigError(
            "--out",
            got=str(out),
            expected="a file in an existing directory",
            fix=f"create the directory {out.parent}",
        )
    return out


def _measure(text: str, choice: Choice, arguments: argparse.Namespace) -> tuple[Choice, list[str]]:
    """Returns what fits into the time, and what was measured."""
    from hvd_imgcls.workflows.initializing.choosing import fit_into

    config = parse_config(text, origin="init")
    images = open_run_images(config)
    plan: Plan = plan_run(config, images, Topology.single(), num_cores=available_cores())
    costs = measured_costs(config, images, plan, arguments)
    seconds = costs.seconds_of(plan)
    fitting = fit_into(choice, seconds, 60 * arguments.minutes)
    lines = [
        f"Measured on this machine with images of {choice.image_size} x {choice.image_size}, one "
        f"rank: {plan.global_batch_size / costs.step_seconds:,.0f} images/s,",
        f"so that {choice.num_epochs} epochs would take {duration(seconds)}.",
    ]
    if fitting != choice:
        lines.append(
            f"For at most {arguments.minutes} minutes: images of {fitting.image_size} x "
            f"{fitting.image_size}, {fitting.num_epochs} epochs (estimated)."
        )
    return fitting, lines
