"""`hvd-imgcls show-data PIPELINE [--out sheet.png] [--num 16] [--epoch E] [--split held_out]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hvd_imgcls.commands.arguments.overrides import add_pipeline
from hvd_imgcls.config import load_config
from hvd_imgcls.data import open_source, opens_without_tensorflow
from hvd_imgcls.data.order.splits import SPLITS
from hvd_imgcls.environment.topology import Topology, launched_rank_and_size
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.tensorflow_import import import_tensorflow_quietly
from hvd_imgcls.workflows.startup.images import open_run_images, plan_run

MAX_EXAMPLES = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `show-data`."""
    add_pipeline(parser)
    parser.add_argument(
        "--out", metavar="FILE", default="sheet.png", help="output PNG file (default: sheet.png)"
    )
    parser.add_argument(
        "--num",
        type=int,
        default=16,
        help=f"number of examples, at most {MAX_EXAMPLES} (default: 16)",
    )
    parser.add_argument(
        "--epoch",
        type=int,
        help="first of up to three consecutive epochs to show, counted from 1 (default: 1)",
    )
    parser.add_argument(
        "--split", choices=SPLITS, default="train", help="show training or held-out images"
    )


def run(arguments: argparse.Namespace) -> None:
    """Draws the sheet, only on the root if several ranks were launched."""
    config = load_config(arguments.pipeline, arguments.overrides)
    if not opens_without_tensorflow(config.data.source):
        import_tensorflow_quietly(arguments.verbosity)
    source = open_source(config.data.source, config.data.placement)
    plan = plan_run(config, open_run_images(config, source=source), Topology.single())
    _require_between("--num", arguments.num, MAX_EXAMPLES, "examples")
    epoch = 1 if arguments.epoch is None else arguments.epoch
    _require_between("--epoch", epoch, plan.num_epochs, "an epoch of the run, counted")
    if arguments.split == "held_out" and arguments.epoch is not None:
        raise ConfigError(
            "--epoch",
            got=arguments.epoch,
            expected="nothing, since held-out images are the same in every epoch",
            fix="omit it, or use --split train",
        )
    rank, _ = launched_rank_and_size()
    if rank != 0:
        return

    from hvd_imgcls.drawing.contact_sheet import require_writable

    out = Path(arguments.out).expanduser()
    require_writable(out)
    import_tensorflow_quietly(arguments.verbosity)
    from hvd_imgcls.workflows.show_data import SheetOptions, show_data

    show_data(
        config,
        plan,
        out,
        SheetOptions(
            pipeline_name=Path(arguments.pipeline).stem,
            split=arguments.split,
            num_examples=arguments.num,
            first_epoch=epoch - 1,
        ),
        source=source,
        verbosity=arguments.verbosity,
    )


def _require_between(option: str, value: int, most: int, what: str) -> None:
    if not 1 <= value <= most:
        raise ConfigError(
            option, got=value, expected=f"{what} from 1 to {most}", fix="correct the command line"
        )
