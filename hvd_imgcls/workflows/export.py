"""`hvd-imgcls export`: exports a trained model for serving."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hvd_imgcls import logs
from hvd_imgcls.config.image_sizes import require_size_for_views
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.files.atomic import write_text
from hvd_imgcls.files.json_files import write_json
from hvd_imgcls.run_directory.classes import EXPORTED_CLASSES, EXPORTED_LINES
from hvd_imgcls.text.printable import printable
from hvd_imgcls.workflows.exporting import formats
from hvd_imgcls.workflows.exporting.checking import check
from hvd_imgcls.workflows.exporting.job import ExportJob
from hvd_imgcls.workflows.exporting.pixels import NUM_CHECKED, made_up_images, pixels_of
from hvd_imgcls.workflows.exporting.saved_model import write_saved_model
from hvd_imgcls.workflows.trained_model.loading import load_model_of_any_images

logger = logging.getLogger(__name__)


def export_model(job: ExportJob, images: Mapping[str, bytes] | None = None) -> dict[str, Any]:
    """Writes a SavedModel that accepts encoded images, a plain Keras file, and optional formats.

    Then loads them again and compares their probabilities with those of the model.

    Args:
        job: What to export.
        images: Encoded images by name for verification, of which the first 100 are used.
            Defaults to synthetic images.

    Returns:
        The contents of `export.json`.

    Raises:
        CheckpointError: If the file is not a model or cannot be converted, or if the exported
            model returns other probabilities.
        ConfigError: If the directory is not empty.
        DataError: If one of the images cannot be decoded.
        SetupError: If a package required by a format is missing.
    """
    _require_empty(job.directory)
    formats.require_packages(job.formats)
    model, image_shape = load_model_of_any_images(
        job.model_path, len(job.class_names), is_trusted=job.is_trusted, is_accelerated=False
    )
    require_size_for_views(job.config.evaluation.views, image_shape)
    checked = dict(itertools.islice((images or made_up_images(image_shape)).items(), NUM_CHECKED))
    pixels = pixels_of(checked, job, image_shape)
    job.directory.mkdir(parents=True, exist_ok=True)
    logger.info("writing saved_model ...")
    saved_model = job.directory / "saved_model"
    write_saved_model(model, job, image_shape, saved_model)
    shutil.copyfile(job.model_path, job.directory / "model.keras")
    write_json(job.directory / EXPORTED_CLASSES, list(job.class_names))
    lines = "".join(f"{printable(name)}\n" for name in job.class_names)
    write_text(job.directory / EXPORTED_LINES, lines)
    written: dict[str, Path] = {}
    for name in job.formats:
        logger.info("writing %s ...", formats.FORMATS[name].file_name)
        written[name] = formats.write(model, name, job.directory)
    logger.info("verifying with %d images ...", len(pixels))
    record = check(job, model, checked, pixels, saved_model=saved_model, written=written)
    record |= {"is_synthetic": not images, "image_shape": list(image_shape)}
    write_json(job.directory / "export.json", record)
    for line in describe_export(job, record):
        logger.log(logs.RESULT, "%s", line)
    return record


def describe_export(job: ExportJob, record: dict[str, Any]) -> list[str]:
    """Returns the lines that report the result."""
    kind = "synthetic images" if record["is_synthetic"] else "images"
    largest = max(record["largest_difference"].values())
    return [
        f"verified with {record['num_images']} {kind}: probabilities differ by at most "
        f"{largest:.1e}, {record['num_same_class']} have the same top-1 class",
        f"written to {job.directory}",
    ]


def _require_empty(directory: Path) -> None:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(
            "--to",
            got=str(directory),
            expected="an empty or new directory",
            fix="choose another one, or delete its contents",
        )
