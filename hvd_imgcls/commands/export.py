"""`hvd-imgcls export RUN_DIR|MODEL.keras --to DIR`."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path

from hvd_imgcls.commands.arguments.model_argument import add_trained, find_trained
from hvd_imgcls.commands.arguments.overrides import add_overrides
from hvd_imgcls.errors import DataError
from hvd_imgcls.files.outside import MAX_IMAGE_BYTES, read_bytes
from hvd_imgcls.tensorflow_import import import_tensorflow_quietly


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `export`."""
    add_trained(parser)
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="output directory")
    parser.add_argument(
        "--format",
        nargs="+",
        choices=("litert", "onnx"),
        default=(),
        help="formats to write in addition to the SavedModel: litert (TFLite), onnx",
    )
    parser.add_argument(
        "--check-with",
        nargs="+",
        metavar="IMAGES",
        help="files, folders or glob patterns; the first 100 images verify that the exported "
        "model returns the same probabilities (default: synthetic images)",
    )
    add_overrides(parser)


def run(arguments: argparse.Namespace) -> None:
    """Exports the model. Runs in one process; starting several ranks has no benefit."""
    trained = find_trained(arguments)
    class_names = trained.require_class_names()
    import_tensorflow_quietly(arguments.verbosity)
    from hvd_imgcls.workflows.export import export_model
    from hvd_imgcls.workflows.exporting.job import ExportJob
    from hvd_imgcls.workflows.startup.ranks import join_ranks

    if not join_ranks(arguments.verbosity).topology.is_root:
        return
    job = ExportJob(
        config=trained.config,
        model_path=trained.model_path,
        class_names=class_names,
        directory=arguments.to,
        formats=tuple(arguments.format),
        is_trusted=arguments.trust_model,
    )
    export_model(job, _read(arguments.check_with) if arguments.check_with else None)


def _read(words: Sequence[str]) -> dict[str, bytes]:
    from hvd_imgcls.workflows.exporting.pixels import NUM_CHECKED
    from hvd_imgcls.workflows.predicting.inputs import list_images

    images = itertools.islice(list_images(words, ()), NUM_CHECKED)
    try:
        return {image: read_bytes(Path(image), MAX_IMAGE_BYTES) for image in images}
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}; give existing images") from None
