"""Training without labels, before the training with labels."""

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
from hvd_imgcls.data import image_shape_of, make_plan_for
from hvd_imgcls.data.bad_examples.log import BadExampleLog
from hvd_imgcls.data.bad_examples.unreadable import naming_unreadable_images
from hvd_imgcls.data.pipeline.dataset import training_dataset
from hvd_imgcls.data.pipeline.first_images import first_images
from hvd_imgcls.drawing.contact_sheet import Tile, draw_sheet, write_sheet
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.losses import PixelError
from hvd_imgcls.models.autoencoder import Autoencoder, build_autoencoder
from hvd_imgcls.models.normalization import MAX_PIXEL
from hvd_imgcls.plan import Plan
from hvd_imgcls.workflows.training.model import distribute
from hvd_imgcls.workflows.training.run import Run
from hvd_imgcls.workflows.training.watching import watch_pretraining

logger = logging.getLogger(__name__)

NUM_SHOWN = 24


def pretrain(run: Run, model: keras.Model) -> None:
    """Trains the encoder of a model to reconstruct images, if the run says so.

    The same optimizer, order and augmentation of the images as with labels; the images that the
    autoencoder gives back are compared with the augmented ones.

    Collective: every rank must call this.

    Args:
        run: The run.
        model: What `build_cae` returned; its encoder is trained in place.

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
            fix="use that model, or leave pretraining out",
        )
    image_shape = image_shape_of(run.source, config)
    autoencoder = build_autoencoder(config.model, image_shape, encoder=model.get_layer("encoder"))
    plan = make_plan_for(run.whole_source, config, run.collectives.topology)
    logger.info(
        "pre-training: %d epochs of %s images without labels",
        plan.num_epochs,
        f"{plan.num_train_examples:,}",
    )
    _fit(run, config, plan, autoencoder.whole)
    hvd.average_moving_statistics(autoencoder.whole)
    _draw_on_root(run, autoencoder)


def _configuration(config: RunConfig) -> RunConfig:
    """Returns the configuration of the training without labels."""
    section = config.pretraining
    assert section is not None  # noqa: S101 - asked before
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


def _fit(run: Run, config: RunConfig, plan: Plan, whole: keras.Model) -> None:
    """Trains the autoencoder. Collective."""
    if config.synchronization.batch_normalization == "synchronized":
        hvd.synchronize_batch_normalization(whole)
    hvd.accelerate(whole)
    whole.compile(optimizer=distribute(whole, config, plan), loss=PixelError())

    @tf.autograph.experimental.do_not_convert
    def with_pixels(images: tf.Tensor, _: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return images, tf.cast(images, tf.float32) / MAX_PIXEL, weights

    dataset = training_dataset(
        run.whole_source,
        config,
        plan,
        rank=run.rank,
        collectives=run.collectives,
        bad_example_log=BadExampleLog(),
    ).map(with_pixels)
    with naming_unreadable_images(
        run.whole_source,
        config,
        plan,
        rank=run.rank,
        finished_steps=lambda: int(whole.optimizer.iterations),
    ):
        whole.fit(
            dataset,
            epochs=plan.num_epochs,
            steps_per_epoch=plan.batches_per_epoch,
            callbacks=[
                hvd.callbacks.BroadcastGlobalVariablesCallback(0),
                hvd.callbacks.MetricAverageCallback(),
                hvd.callbacks.NonFiniteCallback(config.train.non_finite),
                watch_pretraining(run, plan),
            ],
            shuffle=False,
            verbose=0,
        )


def _draw_on_root(run: Run, autoencoder: Autoencoder) -> None:
    """Draws held-out images beside their reconstructions. Collective."""

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
