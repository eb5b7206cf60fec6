"""The arms of row d of `bench input`: steps of `model.fit` on real and on synthetic data.

    python -m hvd_imgcls.bench.inputs.fit_arms CORE real|synthetic PIPELINE.yaml STEPS [FOLDER]

The model, its optimizer and its metrics are those of `hvd-imgcls train` on one rank. Synthetic
data repeat one real batch. FOLDER is the path of an image folder; without it, random pixels in
the shape of CIFAR-10 replace images decoded by `data.cache`.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from pathlib import Path
from typing import Any

from hvd_imgcls.bench.inputs.synthetic_runs import SyntheticImages, plan_of
from hvd_imgcls.bench.measuring.window import Turns
from hvd_imgcls.config import RunConfig, load_config
from hvd_imgcls.data import ImageSource, image_shape_of, open_images


def open_pipeline(path: Path, folder: str | None) -> tuple[ImageSource, RunConfig]:
    """Returns the images and the configuration of a pipeline, with an endless run.

    Args:
        path: The pipeline file.
        folder: Overrides `data.source.path`.
    """
    overrides = ["--train.num_epochs=1000000", "--train.num_steps=null"]
    if folder is not None:
        overrides.append(f"--data.source.path={folder}")
    config = load_config(path, overrides)
    if config.data.source.name == "image_folder" and folder is None:
        return SyntheticImages(), config
    return open_images(config), config


def main(words: list[str]) -> None:
    """Runs one arm."""
    core, arm, pipeline, steps = words[:4]
    turns = Turns(int(core))
    source, config = open_pipeline(Path(pipeline), words[4] if len(words) > 4 else None)

    import keras
    import tensorflow as tf

    from hvd_imgcls import distributed
    from hvd_imgcls.data.pipeline.dataset import training_dataset
    from hvd_imgcls.models import build_model
    from hvd_imgcls.workflows.training.model import compile_model

    logging.getLogger("hvd_imgcls").setLevel(logging.ERROR)
    distributed.start()
    plan = plan_of(source, config)
    distributed.devices.configure(intra_op_threads=1, inter_op_threads=1, local_rank=0)
    keras.utils.set_random_seed(0)
    model = build_model(
        config.model,
        image_shape_of(source, config),
        plan.num_classes,
        config.data.normalization,
    )
    # A learning rate that leaves the weights unchanged: the same numbers in both arms.
    compile_model(model, config, dataclasses.replace(plan, peak_learning_rate=1e-12))
    dataset = training_dataset(source, config, plan, rank=0)
    if arm == "synthetic":
        batch = next(iter(dataset))
        dataset = tf.data.Dataset.from_tensors(batch).repeat()

    class TakeTurns(keras.callbacks.Callback):
        """Makes every epoch of `fit` a turn, so that its iterator is kept."""

        def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            if not turns.begin():
                self.model.stop_training = True
                sys.exit(0)

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            turns.end(int(steps))

    model.fit(
        dataset,
        epochs=1_000_000,
        steps_per_epoch=int(steps),
        callbacks=[TakeTurns()],
        shuffle=False,
        verbose=0,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
