"""The command `hvd-imgcls bench NAME`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hvd_imgcls import logs
from hvd_imgcls.bench.checkpoints import checkpoint
from hvd_imgcls.bench.communication import allreduce, memory, slow_network
from hvd_imgcls.bench.communication import bytes as bytes_bench
from hvd_imgcls.bench.communication import settings as communication
from hvd_imgcls.bench.communication.overlap import overlap
from hvd_imgcls.bench.comparisons import dynamic, peers, precision, scaling, time_to_accuracy
from hvd_imgcls.bench.evaluations import evaluate
from hvd_imgcls.bench.inputs import input as input_bench
from hvd_imgcls.bench.inputs.settings import OWN_ROWS, ROWS, Settings
from hvd_imgcls.bench.steps import launch, sharded_head, step
from hvd_imgcls.environment.processor import processor_name
from hvd_imgcls.environment.topology import Topology, launched_rank_and_size
from hvd_imgcls.errors import ConfigError

logger = logging.getLogger(__name__)

BENCHMARKS = {
    "allreduce": allreduce,
    "bytes": bytes_bench,
    "checkpoint": checkpoint,
    "dynamic": dynamic,
    "evaluate": evaluate,
    "input": input_bench,
    "launch": launch,
    "memory": memory,
    "overlap": overlap,
    "peers": peers,
    "precision": precision,
    "scaling": scaling,
    "sharded-head": sharded_head,
    "slow-network": slow_network,
    "step": step,
    "time-to-accuracy": time_to_accuracy,
}
TIME_TO_ACCURACY = "time-to-accuracy"
# Options that only some benchmarks have, by their names in the arguments.
OWN_OPTIONS = {
    "only": ["input"],
    "data": ["input"],
    "torch_python": ["input", "allreduce"],
    "ffcv_python": ["input"],
    "cifar": ["input", TIME_TO_ACCURACY],
    "hosts": ["launch"],
    "without": ["peers"],
    "target": [TIME_TO_ACCURACY],
    "pipeline": [TIME_TO_ACCURACY],
    "override": [TIME_TO_ACCURACY],
    "plain_epochs": [TIME_TO_ACCURACY],
    **communication.OWN_OPTIONS,
}
# A run to an accuracy takes up to an hour, and a large message some seconds on a slow network.
DEFAULT_PAIRS = {
    TIME_TO_ACCURACY: 1,
    "dynamic": 3,
    "launch": 5,
    "memory": 1,
    "sharded-head": 3,
    "allreduce": 5,
    "bytes": 2,
    "overlap": 3,
    "slow-network": 5,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `bench`."""
    help_text = " ".join((module.__doc__ or "").splitlines()[0] for module in BENCHMARKS.values())
    parser.add_argument("name", choices=sorted(BENCHMARKS), help=help_text)
    parser.add_argument(
        "--pairs",
        type=int,
        help="alternating pairs to measure (default: 9; "
        + ", ".join(f"{name}: {pairs}" for name, pairs in DEFAULT_PAIRS.items())
        + ")",
    )
    _add_arguments_of_input(parser)
    _add_arguments_of_comparisons(parser)
    parser.add_argument("--hosts", metavar="HOSTS", help="bench launch: host1:1,host2:1")
    communication.add_arguments(parser)
    parser.add_argument("--out", type=Path, help="JSON file for the results and their conditions")


def _add_arguments_of_input(parser: argparse.ArgumentParser) -> None:
    of_input = parser.add_argument_group("bench input")
    of_input.add_argument(
        "--only",
        nargs="+",
        choices=ROWS,
        metavar="ROW",
        help="rows to measure, of a to j (default: a to h, and those with a given environment)",
    )
    of_input.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="JPEG files for a, b and f to j (default: synthetic)",
    )
    of_input.add_argument(
        "--cifar",
        type=Path,
        metavar="FOLDER",
        help="CIFAR-10 in train/ and test/ for d (default: random pixels in memory); "
        f"for {TIME_TO_ACCURACY}: the dataset to train on",
    )
    of_input.add_argument(
        "--torch-python",
        type=Path,
        metavar="PYTHON",
        help="interpreter of an environment with torchvision, for i (default with --only i: "
        "installed into the cache, several gigabytes); for allreduce: with PyTorch, whose Gloo "
        "takes turns with ours",
    )
    of_input.add_argument(
        "--ffcv-python",
        type=Path,
        metavar="PYTHON",
        help="interpreter of an environment with FFCV, for j",
    )


def _add_arguments_of_comparisons(parser: argparse.ArgumentParser) -> None:
    of_peers = parser.add_argument_group("bench peers")
    of_peers.add_argument(
        "--without",
        nargs="+",
        choices=["torch"],
        metavar="PEER",
        help="skip torch (several gigabytes)",
    )
    time_to_accuracy_group = parser.add_argument_group(f"bench {TIME_TO_ACCURACY}")
    time_to_accuracy_group.add_argument(
        "--target", type=float, help="target accuracy, 0 to 1 (default: 0.9)"
    )
    time_to_accuracy_group.add_argument(
        "--pipeline", type=Path, help="our pipeline (default: pipelines/cifar10_fast.yaml)"
    )
    time_to_accuracy_group.add_argument(
        "--override", nargs="+", metavar="KEY.PATH=VALUE", help="overrides of the pipeline"
    )
    time_to_accuracy_group.add_argument(
        "--plain-epochs", type=int, help="epochs of the plain script's schedule (default: 30)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs a benchmark, prints the results and writes them to a file."""
    if arguments.pairs is None:
        arguments.pairs = DEFAULT_PAIRS.get(arguments.name, 9)
    if arguments.pairs < 1:
        raise ConfigError("--pairs", got=arguments.pairs, expected="1 or more", fix="correct it")
    rank, size = launched_rank_and_size()
    if size > 1 and arguments.name != communication.ALLREDUCE:
        raise ConfigError(
            f"bench {arguments.name}",
            got=f"{size} ranks of a launcher",
            expected="no launcher, since it starts its own ranks",
            fix="run the command by itself",
        )
    logs.start(Topology.on_hosts(rank, size, size), verbosity=arguments.verbosity)
    load_before = os.getloadavg()[0]
    logger.info("load of the machine before: %.2f", load_before)
    results = _measure(arguments)
    conditions = {
        "cores": os.cpu_count(),
        "processor": processor_name(),
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
        "python": platform.python_version(),
        **{name: version(name) for name in ("tensorflow", "keras", "horovod", "hvd_imgcls")},
    }
    if arguments.out and rank == 0:
        text = json.dumps({"conditions": conditions, "results": results}, indent=1)
        arguments.out.write_text(text + "\n", encoding="utf-8")
        logger.log(logs.RESULT, "results and conditions written to %s", arguments.out)
    return 0


def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
    for option, owners in OWN_OPTIONS.items():
        if getattr(arguments, option) is not None and arguments.name not in owners:
            names = " and ".join(f"`bench {owner}`" for owner in owners)
            raise ConfigError(
                f"--{option.replace('_', '-')}",
                got=str(getattr(arguments, option)),
                expected=f"nothing, since it is an option of {names}",
                fix="omit it",
            )
    if arguments.name == TIME_TO_ACCURACY:
        return time_to_accuracy.run(_race(arguments))
    if arguments.name in communication.NAMES:
        of_communication: Any = BENCHMARKS[arguments.name]
        return of_communication.run(communication.settings_of(arguments))
    if arguments.name == "peers":
        return peers.run(arguments.pairs, without=arguments.without or ())
    if arguments.name == "launch":
        return launch.run(arguments.pairs, arguments.hosts)
    if arguments.name != "input":
        module: Any = BENCHMARKS[arguments.name]
        results: dict[str, Any] = module.run(arguments.pairs)
        return results
    environments = {"i": arguments.torch_python, "j": arguments.ffcv_python}
    default = [*OWN_ROWS, *(row for row, python in environments.items() if python)]
    return input_bench.run(
        Settings(
            pairs=arguments.pairs,
            only=sorted(set(arguments.only or default)),
            data=arguments.data,
            cifar=arguments.cifar,
            torch_python=arguments.torch_python,
            ffcv_python=arguments.ffcv_python,
        )
    )


def _race(arguments: argparse.Namespace) -> time_to_accuracy.Settings:
    if arguments.cifar is None:
        raise ConfigError(
            "--cifar",
            got="nothing",
            expected="a folder with CIFAR-10 as image files, train/<class> and test/<class>",
            fix="name it",
        )
    pipeline = arguments.pipeline or Path("pipelines/cifar10_fast.yaml")
    if not pipeline.is_file():
        raise ConfigError(
            "--pipeline",
            got=str(pipeline),
            expected="a pipeline file",
            fix="run in a checkout, or pass another file",
        )
    target = 0.9 if arguments.target is None else arguments.target
    plain_epochs = 30 if arguments.plain_epochs is None else arguments.plain_epochs
    if not 0 <= target <= 1:
        raise ConfigError("--target", got=target, expected="0 .. 1", fix="correct it")
    if plain_epochs < 1:
        raise ConfigError(
            "--plain-epochs", got=plain_epochs, expected="1 or more", fix="correct it"
        )
    return time_to_accuracy.Settings(
        cifar=arguments.cifar.expanduser().absolute(),
        target=target,
        pipeline=pipeline,
        overrides=[f"--{change}" for change in arguments.override or ()],
        plain_epochs=plain_epochs,
        repeats=arguments.pairs,
    )
