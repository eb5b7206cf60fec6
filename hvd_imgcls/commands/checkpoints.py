"""`hvd-imgcls checkpoints RUN [--verify] [--export FILE]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hvd_imgcls.environment.topology import launched_rank_and_size
from hvd_imgcls.errors import CheckpointError, ConfigError
from hvd_imgcls.tensorflow_import import import_tensorflow_quietly
from hvd_imgcls.text.printable import printable_text
from hvd_imgcls.workflows.checkpoints.finding import read_checkpoint
from hvd_imgcls.workflows.checkpoints.listing import list_checkpoints, verify_checkpoints


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `checkpoints`."""
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="run directory, or with --export one checkpoint in it"
    )
    parser.add_argument(
        "--verify", action="store_true", help="read all files and compare their digests"
    )
    parser.add_argument(
        "--export",
        type=Path,
        metavar="FILE",
        help="write the model of the newest checkpoint, or of the given one, as a .keras file",
    )


def run(arguments: argparse.Namespace) -> None:
    """Lists, verifies or exports checkpoints. Root only: a no-op elsewhere.

    Raises:
        CheckpointError: If one is damaged.
        ConfigError: If there is no run.
    """
    rank, _ = launched_rank_and_size()
    if rank != 0:
        return
    if arguments.export is not None:
        _export(arguments)
    elif arguments.verify:
        _verify(arguments.run)
    else:
        for line in list_checkpoints(arguments.run):
            _say(line)


def _verify(run_dir: Path) -> None:
    num_damaged = 0
    for line, is_sound in verify_checkpoints(run_dir):
        _say(line)
        num_damaged += not is_sound
    if num_damaged:
        raise CheckpointError(
            f"{run_dir}: {num_damaged} damaged checkpoints; a run continues from the newest sound "
            "one"
        )


def _export(arguments: argparse.Namespace) -> None:
    path: Path = arguments.export
    if path.suffix != ".keras" or path.exists():
        raise ConfigError(
            "--export",
            got=f"{path}{', which exists' if path.exists() else ''}",
            expected="a new file that ends in .keras",
            fix="choose another name",
        )
    checkpoint = read_checkpoint(arguments.run)
    import_tensorflow_quietly(arguments.verbosity)
    from hvd_imgcls.workflows.checkpoints.exporting import export_checkpoint

    export_checkpoint(checkpoint, path)
    _say(f"{checkpoint.path} written to {path}")


def _say(line: str) -> None:
    sys.stdout.write(f"{printable_text(line)}\n")
