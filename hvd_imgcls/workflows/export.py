"""The story of `hvd-imgcls export`: a trained model for those who serve it."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hvd_imgcls import logs
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.files.atomic import write_text
from hvd_imgcls.files.json_files import write_json
from hvd_imgcls.workflows.exporting import formats
from hvd_imgcls.workflows.exporting.checking import check
from hvd_imgcls.workflows.exporting.job import ExportJob
from hvd_imgcls.workflows.exporting.pixels import NUM_CHECKED, made_up_images, pixels_of
from hvd_imgcls.workflows.exporting.saved_model import write_saved_model
from hvd_imgcls.workflows.trained_model.loading import load_model_of_any_images

logger = logging.getLogger(__name__)


def export_model(job: ExportJob, images: Mapping[str, bytes] | None = None) -> dict[str, Any]:
    """Writes a SavedModel that takes encoded images, a plain Keras file, and more on request.

    Then loads them again and compares their probabilities with those of the model.

    Args:
        job: What is exported.
        images: Encoded images that it is checked with, by name, of which the first 100 are
            taken; without any, some are made up.

    Returns:
        What `export.json` holds.

    Raises:
        CheckpointError: If the file is no model, cannot be converted, or the exported one
            gives something else.
        ConfigError: If the directory holds something.
        DataError: If one of the images cannot be read.
        SetupError: If a package for a format is missing.
    """
    _require_empty(job.directory)
    formats.require_packages(job.formats)
    model, image_shape = load_model_of_any_images(
        job.model_path, len(job.class_names), is_trusted=job.is_trusted, is_accelerated=False
    )
    checked = dict(itertools.islice((images or made_up_images(image_shape)).items(), NUM_CHECKED))
    pixels = pixels_of(checked, job, image_shape)
    job.directory.mkdir(parents=True, exist_ok=True)
    logger.info("writing saved_model ...")
    saved_model = job.directory / "saved_model"
    write_saved_model(model, job, image_shape, saved_model)
    shutil.copyfile(job.model_path, job.directory / "model.keras")
    write_text(job.directory / "classes.txt", "\n".join(job.class_names) + "\n")
    written: dict[str, Path] = {}
    for name in job.formats:
        logger.info("writing %s ...", formats.FORMATS[name].file_name)
        written[name] = formats.write(model, name, job.directory)
    logger.info("checking with %d images ...", len(pixels))
    record = check(job, model, checked, pixels, saved_model=saved_model, written=written)
    record |= {"images_made_up": not images, "image_shape": list(image_shape)}
    write_json(job.directory / "export.json", record)
    for line in describe(job, record):
        logger.log(logs.RESULT, "%s", line)
    return record


def describe(job: ExportJob, record: dict[str, Any]) -> list[str]:
    """Returns what is said at the end."""
    kind = "made-up images" if record["images_made_up"] else "images"
    largest = max(record["largest_difference"].values())
    return [
        f"checked with {record['num_images']} {kind}: probabilities differ by {largest:.1e} at "
        f"most, {record['num_same_class']} have the same class",
        f"everything is in {job.directory}",
    ]


def _require_empty(directory: Path) -> None:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(
            "--to",
            got=str(directory),
            expected="a directory that is empty or not there",
            fix="choose another one, or remove what is in it",
        )
