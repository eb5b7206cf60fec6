"""`hvd-imgcls plan PIPELINE [--size N] [--measure] [--json] [--key.path value ...]`.

With `--num-train`, `--num-held-out` and `--num-classes`, it needs no images.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hvd_imgcls.commands.arguments.overrides import add_pipeline
from hvd_imgcls.config import RunConfig, load_config
from hvd_imgcls.config.data.sources import DigitsSource
from hvd_imgcls.config.model_files import missing_files, require_files, weights_notes
from hvd_imgcls.data import image_shape_of, opens_without_tensorflow
from hvd_imgcls.data.sources.class_sizes import describe_class_sizes, note_on_class_sizes
from hvd_imgcls.data.sources.counts import CountedImages
from hvd_imgcls.environment.affinity import launched_local_size
from hvd_imgcls.environment.topology import Topology, launched_rank_and_size
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.plan import Plan, available_cores, describe_plan
from hvd_imgcls.tensorflow_import import import_tensorflow_quietly
from hvd_imgcls.text.printable import printable_text
from hvd_imgcls.workflows.startup.images import RunImages, open_run_images, plan_run

if TYPE_CHECKING:
    from hvd_imgcls.workflows.measuring import Measured


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
        help="ranks per host, on hosts like this one; default: as launched, or one per core",
    )
    counts = parser.add_argument_group(
        "without the images", "numbers to plan with where there are no images; all three together"
    )
    counts.add_argument(
        "--num-train", type=positive, metavar="N", help="images in the training split"
    )
    counts.add_argument(
        "--num-held-out", type=positive, metavar="M", help="images in the held-out split"
    )
    counts.add_argument("--num-classes", type=positive, metavar="C", help="number of classes")
    parser.add_argument(
        "--measure",
        action="store_true",
        help="train a few steps of one rank here, and estimate time and memory of the run",
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Prints the plan. Root only: a no-op elsewhere."""
    rank, launched_size = launched_rank_and_size()
    if arguments.measure and launched_size > 1:
        raise ConfigError(
            "--measure",
            got=f"{launched_size} launched ranks",
            expected="one process, which measures one rank",
            fix=f"start it without a launcher, with --size {launched_size}",
        )
    if rank != 0:
        return
    size = arguments.size or launched_size
    num_cores = available_cores()
    launched_here = launched_local_size() if arguments.size is None else None
    ranks_per_host = min(size, arguments.ranks_per_host or launched_here or num_cores)
    config = load_config(arguments.pipeline, arguments.overrides)
    counted = _counted(arguments, config)
    if counted is None:
        require_files(config.model)
    if counted is None and not opens_without_tensorflow(config.data.source):
        import_tensorflow_quietly(arguments.verbosity)
    topology = Topology.on_hosts(0, size, ranks_per_host)
    images = open_run_images(config, source=counted)
    plan = plan_run(config, images, topology, num_cores=num_cores)
    if arguments.measure and counted is not None:
        raise ConfigError(
            "--measure",
            got="numbers instead of images",
            expected="the images, of which a few batches are read",
            fix="omit --measure, or the numbers",
        )
    not_checked = [*counted.not_checked, *missing_files(config.model)] if counted else []
    if arguments.json:
        extra: dict[str, Any] = {"not_checked": not_checked} if counted else {}
        extra |= _measured(config, images, plan, arguments)[0] if arguments.measure else {}
        text = json.dumps({**plan.to_json(), **extra}, indent=2)
    else:
        shape = image_shape_of(images.labelled, config)
        notes = [
            *([] if counted else _on_classes(images, config)),
            *weights_notes(config.model, shape, plan.num_classes),
        ]
        plan_text = describe_plan(plan, config, not_checked)
        text = "\n".join([plan_text, *(f"note: {note}" for note in notes)])
        if arguments.measure:
            text = "\n".join([text, *_measured(config, images, plan, arguments)[1]])
        text = printable_text(text)
    sys.stdout.write(text + "\n")


def measured_costs(
    config: RunConfig, images: RunImages, plan: Plan, arguments: argparse.Namespace
) -> Measured:
    """Returns what a few steps of one rank cost. Imports TensorFlow.

    Args:
        config: The configuration.
        images: The images of the run.
        plan: The plan, for any number of ranks.
        arguments: With `verbosity`.
    """
    import_tensorflow_quietly(arguments.verbosity)
    from hvd_imgcls.workflows.measuring import measure
    from hvd_imgcls.workflows.startup.ranks import join_ranks

    with _cores_of_one_rank(plan):
        return measure(config, images, plan, join_ranks(arguments.verbosity))


def _measured(
    config: RunConfig, images: RunImages, plan: Plan, arguments: argparse.Namespace
) -> tuple[dict[str, Any], list[str]]:
    """Returns what a few steps cost, as JSON and as lines."""
    measured = measured_costs(config, images, plan, arguments)
    from hvd_imgcls.workflows.measuring import describe_measured

    return {"measured": dataclasses.asdict(measured)}, describe_measured(measured, plan)


@contextlib.contextmanager
def _cores_of_one_rank(plan: Plan) -> Iterator[None]:
    """Lets this process use as many cores as a rank of the plan has."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[: max(1, len(cores) // plan.local_size)])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _on_classes(images: RunImages, config: RunConfig) -> list[str]:
    """Returns what a plan says about the images per class, as sentences."""
    if isinstance(config.data.source, DigitsSource):
        return []  # Classes of equal size; their labels would take a second to load.
    labels, names = images.labelled.labels("train"), images.labelled.class_names
    if images.labelled.division is not None or len(names) != images.num_classes:
        return []
    sizes = describe_class_sizes(labels, names)
    advice = note_on_class_sizes(labels, len(names))
    weighted = config.train.class_weights == "balanced"
    return [text for text in (sizes, None if weighted else advice) if text is not None]


def _counted(arguments: argparse.Namespace, config: RunConfig) -> CountedImages | None:
    """Returns a source with the given numbers of images, None if there are none.

    Raises:
        ConfigError: If only some of the numbers are given, or they do not suit the configuration.
    """
    numbers = {
        name: getattr(arguments, name) for name in ("num_train", "num_held_out", "num_classes")
    }
    given = [_option(name) for name, number in numbers.items() if number is not None]
    missing = [_option(name) for name, number in numbers.items() if number is None]
    if not given:
        return None
    if missing:
        raise ConfigError(
            " and ".join(missing),
            got=f"only {' and '.join(given)}",
            expected="the number of training images, of held-out images and of classes",
            fix=f"add {' and '.join(missing)}, or omit {' and '.join(given)}",
        )
    return CountedImages(config, **numbers)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def positive(text: str) -> int:
    """Parses a positive integer, for `argparse`."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number
