"""Unsupervised pre-training, before supervised training."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

import hvd_imgcls.keras as hvd
from hvd_imgcls import distributed
from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.fine_tuning import FineTuning
from hvd_imgcls.config.models import Cae
from hvd_imgcls.data import image_shape_of
from hvd_imgcls.data.pipeline.first_images import first_images
from hvd_imgcls.drawing.contact_sheet import Tile, draw_sheet, write_sheet
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.losses import PixelError
from hvd_imgcls.models.autoencoder import Autoencoder, build_autoencoder
from hvd_imgcls.models.normalization import MAX_PIXEL
from hvd_imgcls.plan.position import Position
from hvd_imgcls.workflows.progress import Record
from hvd_imgcls.workflows.startup.images import plan_run
from hvd_imgcls.workflows.training.fitting import fit
from hvd_imgcls.workflows.training.model import distribute
from hvd_imgcls.workflows.training.phase import Phase
from hvd_imgcls.workflows.training.run import Run

logger = logging.getLogger(__name__)

NUM_SHOWN = 24


def pretrain(run: Run, model: keras.Model) -> None:
    """Trains the encoder of a model to reconstruct images, if configured.

    Uses the same optimizer, order and augmentation as supervised training; the
    reconstructions are compared with the augmented images.

    Collective: every rank must call this.

    Args:
        run: The run.
        model: A model built by `build_cae`; its encoder is trained in-place.

    Raises:
        ConfigError: If the model has no encoder.
    """
    if run.config.pretraining is None:
        return
    config = _configuration(run.config)
    if not isinstance(config.model, Cae):
        raise ConfigError(
            "pretraining",
            got=f"pre-training of {config.model.name}",
            expected="model.name cae, which has a decoder",
            fix="use that model, or remove pretraining",
        )
    if run.resumed_in("training") is not None:
        return  # the run was interrupted after it
    image_shape = image_shape_of(run.source, config)
    autoencoder = build_autoencoder(config.model, image_shape, encoder=model.get_layer("encoder"))
    phase = _phase(run, config, autoencoder.whole)
    logger.info(
        "pre-training: %d epochs of %s images without labels",
        phase.plan.num_epochs,
        f"{phase.plan.num_train_examples:,}",
    )
    fit(run, phase)
    hvd.average_moving_statistics(autoencoder.whole)
    _draw_on_root(run, autoencoder)


def _configuration(config: RunConfig) -> RunConfig:
    """Returns the configuration of pre-training."""
    section = config.pretraining
    assert section is not None  # noqa: S101 - checked by the caller
    train = dataclasses.replace(
        config.train,
        num_epochs=section.num_epochs,
        num_steps=None,
        ema=None,
        lookahead=None,
        class_weights="none",
    )
    return dataclasses.replace(
        config,
        train=train,
        optimizer=section.optimizer or config.optimizer,
        schedule=section.schedule or config.schedule,
        fine_tuning=FineTuning(),
        callbacks=(),
    )


def _phase(run: Run, config: RunConfig, whole: keras.Model) -> Phase:
    """Returns the phase that trains an autoencoder."""
    topology = run.ranks.topology
    plan = plan_run(config, run.images, topology, uses_all_images=True)
    plan = plan.on_host(topology, run.ranks.threads)
    if config.synchronization.batch_normalization == "synchronized":
        hvd.synchronize_batch_normalization(whole)
    hvd.accelerate(whole)
    record = run.record.pretraining = Record(board=run.record.board)
    return Phase(
        name="pretraining",
        config=config,
        plan=plan,
        source=run.images.whole,
        model=whole,
        compile=lambda: whole.compile(optimizer=distribute(whole, config, plan), loss=PixelError()),
        position=Position(plan.gradient_accumulation_steps),
        record=record,
        metrics_path=run.files.pretraining,
        transform=lambda dataset: dataset.map(_with_pixels),
    )


@tf.autograph.experimental.do_not_convert
def _with_pixels(images: tf.Tensor, _: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Replaces the targets with the pixels, 0 .. 1."""
    return images, tf.cast(images, tf.float32) / MAX_PIXEL, weights


def _draw_on_root(run: Run, autoencoder: Autoencoder) -> None:
    """Draws held-out images next to their reconstructions. Collective."""

    def draw() -> None:
        images = first_images(
            run.source, run.config, NUM_SHOWN, rank=run.rank, size=run.plan.size, split="held_out"
        )
        pixels = keras.ops.convert_to_numpy(autoencoder.whole(images, training=False))
        error = float(np.mean((pixels - images / MAX_PIXEL) ** 2))
        sheet = draw_sheet(
            [
                [Tile(image=image), Tile(image=_to_bytes(reconstruction))]
                for image, reconstruction in zip(images, pixels, strict=True)
            ],
            headings=["image", "reconstruction"],
            title="Reconstructions of held-out images",
            caption=[f"squared error of these pixels, 0 to 1: {error:.5f}"],
            side=images.shape[1],
        )
        write_sheet(sheet, run.files.reconstructions)
        logger.info(
            "pre-training: squared error %.5f on %d held-out images (%s)",
            error,
            len(images),
            run.files.reconstructions,
        )

    distributed.agreement.on_root(run.collectives, draw)


def _to_bytes(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.clip(np.rint(pixels * MAX_PIXEL), 0, MAX_PIXEL).astype(np.uint8)
