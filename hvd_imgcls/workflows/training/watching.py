"""Progress of a run, and its images in TensorBoard."""

from __future__ import annotations

import logging
from typing import Any

import keras
import numpy as np

from hvd_imgcls.config.running.callbacks import CsvLogger
from hvd_imgcls.data.order.positions import rank_blocks
from hvd_imgcls.data.pipeline.previews import evaluation_images
from hvd_imgcls.data.pipeline.targets import targets_of
from hvd_imgcls.drawing.confusion_matrix import draw_confusion
from hvd_imgcls.drawing.sample_images import draw_batch, draw_predictions
from hvd_imgcls.errors import DataError
from hvd_imgcls.workflows.progress import Board, Progress, ProgressOutput
from hvd_imgcls.workflows.training.freezing import segments
from hvd_imgcls.workflows.training.phase import Phase
from hvd_imgcls.workflows.training.run import Run

logger = logging.getLogger(__name__)

NUM_SAMPLES = 32


def watch(run: Run, phase: Phase) -> Progress:
    """Returns the callback that reports the progress of a phase."""
    board = phase.record.board
    # The curves of supervised training need no prefix.
    name = "" if phase.name == "training" else "pre-training"

    def draw(batch: tuple[Any, ...]) -> None:
        images, targets = (np.asarray(part[:NUM_SAMPLES]) for part in batch[:2])
        if phase.name == "training":
            targets = np.asarray(targets_of(phase.config, phase.plan.num_classes).one_hot(targets))
        picture, shown = draw_batch(images, targets, run.source.class_names), f"{name} first batch"
        if not name:
            picture.save(run.files.first_batch)
        if board is not None:
            board.write_picture(f"images/{shown.strip()}", picture, 0)

    return Progress(
        phase.plan,
        phase.position,
        phase.record,
        run.collectives,
        output=ProgressOutput(
            metrics_path=phase.metrics_path if run.is_root else None,
            on_first_batch=draw if run.is_root and run.resumed is None else None,
            observer=run.limits,
            name=name,
            num_traces=len(segments(phase.config.fine_tuning.freeze, phase.plan.num_epochs)),
            later_images=_later_images(run) if not name else 0,
            monitor=run.monitor,
            exchanging=run.limits.exchanging,
            allocation=phase.allocation,
            monitored=tuple(
                callback.monitor
                for callback in phase.config.callbacks
                if not isinstance(callback, CsvLogger)
            ),
        ),
    )


def _later_images(run: Run) -> int:
    """Returns how many images are read after the training, for recalibration and evaluation."""
    recalibration = run.config.train.recalibration_batches * run.plan.global_batch_size
    times = 1 if run.config.train.ema is None else 2
    return times * (recalibration + run.plan.evaluation.num_examples)


def draw_outcome(run: Run, model: keras.Model, metrics: dict[str, Any]) -> None:
    """Writes the confusion matrix and some held-out images to TensorBoard, if enabled.

    Args:
        run: The run.
        model: From images to logits.
        metrics: Metrics of the held-out split.
    """
    board = run.record.board
    if board is None:
        return
    names, step = metrics["class_names"], run.record.num_steps
    if "confusion_matrix" in metrics:
        confusion = draw_confusion(np.array(metrics["confusion_matrix"], np.int64), names)
        board.write_picture("evaluation/confusion matrix", confusion, step)
    _draw_held_out(run, model, board, step)
    board.close()


def _draw_held_out(run: Run, model: keras.Model, board: Board, step: int) -> None:
    """Draws held-out images from the whole split, among those that this rank can read."""
    numbers, blocks = rank_blocks(
        run.plan.evaluation, rank=run.rank, size=run.plan.size, division=run.source.division
    )
    local = np.unique(blocks[numbers >= 0])
    local = local[local >= 0]
    chosen = local[np.linspace(0, len(local) - 1, min(NUM_SAMPLES, len(local))).astype(int)]
    try:
        images = evaluation_images(
            run.source,
            run.config,
            "held_out",
            chosen.tolist(),
            num_threads=run.plan.threads.data,
        )
    except DataError as error:
        logger.info("no contact sheet of held-out images: %s", error)
        return
    labels = run.source.labels("held_out")[chosen]
    logits = np.asarray(model(images, training=False))
    picture = draw_predictions(images, labels, logits, run.source.class_names)
    board.write_picture("images/held out", picture, step)
