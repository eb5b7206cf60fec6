"""`hvd-imgcls plan PIPELINE [--size N] [--ranks-per-host M] [--json] [--key.path value ...]`."""

from __future__ import annotations

import argparse
import json
import sys

from hvd_imgcls.commands.overrides import add_pipeline
from hvd_imgcls.commands.tensorflow_import import import_tensorflow_quietly
from hvd_imgcls.config import load_config
from hvd_imgcls.config.model_files import weights_notes
from hvd_imgcls.data import image_shape_of, opens_without_tensorflow
from hvd_imgcls.environment.topology import Topology, launched_rank_and_size
from hvd_imgcls.plan import available_cores, describe_plan
from hvd_imgcls.workflows.startup.images import open_run_images, plan_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `plan`."""
    add_pipeline(parser)
    parser.add_argument(
        "--size", type=positive, metavar="N", help="number of ranks; default: as launched, or 1"
    )
    parser.add_argument(
        "--ranks-per-host",
        type=positive,
        metavar="M",
        help="ranks per host, on hosts like this one; default: one per core",
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Prints the plan, only on the root if several ranks were launched."""
    rank, launched_size = launched_rank_and_size()
    size = arguments.size or launched_size
    num_cores = available_cores()
    ranks_per_host = min(size, arguments.ranks_per_host or num_cores)
    config = load_config(arguments.pipeline, arguments.overrides)
    if not opens_without_tensorflow(config.data.source):
        import_tensorflow_quietly(arguments.verbosity)
    topology = Topology.on_hosts(0, size, ranks_per_host)
    images = open_run_images(config)
    plan = plan_run(config, images, topology, num_cores=num_cores)
    if arguments.json:
        text = json.dumps(plan.to_json(), indent=2)
    else:
        shape = image_shape_of(images.labelled, config)
        notes = weights_notes(config.model, shape, plan.num_classes)
        text = "\n".join([describe_plan(plan, config), *(f"note: {note}" for note in notes)])
    if rank == 0:
        sys.stdout.write(text + "\n")


def positive(text: str) -> int:
    """Parses a positive integer, for `argparse`."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number
