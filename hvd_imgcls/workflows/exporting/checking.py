"""Verifies that exported models return the probabilities of the original model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.metrics.examples import softmax
from hvd_imgcls.workflows.exporting import formats
from hvd_imgcls.workflows.exporting.job import ExportJob
from hvd_imgcls.workflows.trained_model.test_time_augmentation import make_predict

Floats = npt.NDArray[np.floating]

TOLERANCE = {"float32": 1e-5, "mixed_bfloat16": 2e-2, "mixed_float16": 5e-3}
"""Maximum difference of probabilities: other kernels round differently."""


def check(
    job: ExportJob,
    model: keras.Model,
    images: Mapping[str, bytes],
    pixels: npt.NDArray[np.uint8],
    *,
    saved_model: Path,
    written: Mapping[str, Path],
) -> dict[str, Any]:
    """Compares the probabilities of the exported models with those of the model.

    Args:
        job: What was exported.
        model: The model.
        images: Encoded images.
        pixels: The same images, decoded for the model.
        saved_model: Directory of the SavedModel.
        written: Other files, by format. They do not use test-time augmentation.

    Returns:
        JSON: `largest_difference` by exported model, and the number of images for which the top-1
        class is the same for all of them.

    Raises:
        CheckpointError: If a difference is too large.
    """
    expected = softmax(make_predict(model, job.config.evaluation.views)(pixels).numpy())
    found = _of_saved_model(saved_model, list(images.values()), pixels)
    wanted = dict.fromkeys(found, expected)
    if written:
        of_one_look = softmax(make_predict(model, "one")(pixels).numpy())
    for name, path in written.items():
        found[str(path)] = softmax(formats.logits_of(name, path, pixels))
        wanted[str(path)] = of_one_look
    policy = policy_of(model)
    differences = {}
    is_same = np.ones(len(pixels), np.bool_)
    for name, probabilities in found.items():
        differences[name] = float(np.abs(probabilities - wanted[name]).max())
        is_same &= probabilities.argmax(axis=-1) == wanted[name].argmax(axis=-1)
        if not differences[name] <= TOLERANCE[policy]:
            raise CheckpointError(
                f"{name}: its probabilities differ from those of {job.model_path} by "
                f"{differences[name]:.1e}, above the {TOLERANCE[policy]:g} that rounding "
                "explains; do not use it, and please report this"
            )
    return {
        "num_images": len(pixels),
        "largest_difference": {
            name.removeprefix(f"{job.directory}/"): value for name, value in differences.items()
        },
        "num_same_class": int(is_same.sum()),
        "precision": policy,
    }


def policy_of(model: keras.Model) -> str:
    """Returns the lowest precision that any layer computes in."""
    names = {layer.dtype_policy.name for layer in model._flatten_layers()}
    return next((name for name in reversed(TOLERANCE) if name in names), "float32")


def _of_saved_model(
    path: Path, images: list[bytes], pixels: npt.NDArray[np.uint8]
) -> dict[str, Floats]:
    loaded = tf.saved_model.load(str(path))
    of_files = loaded.signatures["serving_default"](image_bytes=tf.constant(images))
    of_pixels = loaded.signatures["images"](images=tf.constant(pixels))
    return {
        f"{path} (serving_default)": of_files["probabilities"].numpy(),
        f"{path} (images)": of_pixels["probabilities"].numpy(),
    }
