"""`hvd-imgcls plan PIPELINE [--size N] [--ranks-per-host M] [--json] [--key.path value ...]`."""

from __future__ import annotations

import argparse
import json
import sys

from hvd_imgcls.commands.overrides import add_pipeline
from hvd_imgcls.commands.tensorflow_import import import_tensorflow_quietly
from hvd_imgcls.config import RunConfig, load_config
from hvd_imgcls.config.placement import Hybrid, Vertical
from hvd_imgcls.data import (
    ImageSource,
    make_plan_for,
    open_images,
    open_source,
    opens_without_tensorflow,
)
from hvd_imgcls.data.sources.subset import labelled_part
from hvd_imgcls.environment.topology import Topology, launched_rank_and_size
from hvd_imgcls.plan import Plan, available_cores, describe_plan


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
    source = open_source(config.data.source, config.data.placement)
    plan = plan_for(config, source, Topology.on_hosts(0, size, ranks_per_host), num_cores)
    text = json.dumps(plan.to_json(), indent=2) if arguments.json else describe_plan(plan, config)
    if rank == 0:
        sys.stdout.write(text + "\n")


def plan_for(
    config: RunConfig, source: ImageSource, topology: Topology, num_cores: int | None = None
) -> Plan:
    """Returns the plan of a run of this configuration.

    Args:
        config: The configuration.
        source: Its source.
        topology: Any rank of the run.
        num_cores: Cores per host. Defaults to those that this process may use.
    """
    images = labelled_part(open_images(config, source=source), config)
    return make_plan_for(
        images, config, topology, num_cores=num_cores, num_classes=_num_classes(config, images)
    )


def _num_classes(config: RunConfig, images: ImageSource) -> int:
    """Returns the number of classes; that of the label table if there is one."""
    placement = config.data.placement
    if isinstance(placement, Vertical | Hybrid):
        from hvd_imgcls.data.placement.label_table import read_label_table

        return len(read_label_table(placement)[0])
    return len(images.class_names)


def positive(text: str) -> int:
    """Parses a positive integer, for `argparse`."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number
