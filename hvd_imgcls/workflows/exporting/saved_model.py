"""A SavedModel that accepts encoded images: decoding and centre crop are part of the graph."""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf

from hvd_imgcls.workflows.exporting.job import ExportJob
from hvd_imgcls.workflows.exporting.pixels import decoder_of
from hvd_imgcls.workflows.trained_model.test_time_augmentation import logits_of_views


def write_saved_model(
    model: keras.Model, job: ExportJob, image_shape: tuple[int, int, int], path: Path
) -> None:
    """Writes a SavedModel with signatures for encoded images, pixels and class names.

    Args:
        model: From pixels in 0 to 255 to logits.
        job: Defines preprocessing and test-time augmentation.
        image_shape: Height, width and channels.
        path: The directory.
    """
    decode = decoder_of(job, image_shape)
    names = tf.constant(job.class_names)

    def of_images(images: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = logits_of_views(model, images, job.config.evaluation.views)
        return {
            "probabilities": tf.nn.softmax(logits),
            "logits": logits,
            "class": tf.gather(names, tf.argmax(logits, axis=-1)),
        }

    def of_files(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.TensorSpec(image_shape, tf.uint8)
        return of_images(tf.map_fn(decode, image_bytes, fn_output_signature=pixels))

    archive = keras.export.ExportArchive()
    archive.track(model)
    files = tf.TensorSpec([None], tf.string, name="image_bytes")
    pixels = tf.TensorSpec([None, *image_shape], tf.uint8, name="images")
    archive.add_endpoint("serving_default", of_files, input_signature=[files])
    archive.add_endpoint("images", of_images, input_signature=[pixels])
    archive.add_endpoint("class_names", lambda: {"class_names": names}, input_signature=[])
    archive.write_out(str(path), verbose=False)
