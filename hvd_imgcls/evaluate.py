"""The story of `hvd-imgcls evaluate`: a model, the held-out split, exact metrics."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import hvd_imgcls.keras as hvd
from hvd_imgcls import distributed, logs, run_dir
from hvd_imgcls.config import RunConfig, to_tree
from hvd_imgcls.data import ImageSource, host_shares_of, image_shape_of, open_images, open_source
from hvd_imgcls.data.dataset import evaluation_dataset
from hvd_imgcls.data.placing import place
from hvd_imgcls.data.positions import rank_blocks
from hvd_imgcls.data.unreadable import name_unreadable_block
from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.metrics import Tally
from hvd_imgcls.models.files import read_model
from hvd_imgcls.models.fitting import fits
from hvd_imgcls.plan import EvaluationPlan, available_cores, make_evaluation_plan, share_cores
from hvd_imgcls.quarantine import report_held_out
from hvd_imgcls.views_of_images import make_predict

logger = logging.getLogger(__name__)


def evaluate_file(
    config: RunConfig,
    model_path: Path,
    *,
    out_path: Path | None = None,
    verbosity: logs.Verbosity = logs.Verbosity.NORMAL,
) -> dict[str, Any]:
    """Evaluates a saved model on the held-out split, on any number of ranks.

    Collective: every rank must call this with equal arguments.

    Args:
        config: Says which data, and in which blocks.
        model_path: A `.keras` file. Nothing in it is executed.
        out_path: Where the root writes the metrics; it prints them when None.
        verbosity: How much is said.

    Returns:
        The metrics, the same on all ranks.

    Raises:
        CheckpointError: If the file is no model or does not fit the data.
    """
    # Who are we?
    collectives = distributed.start()
    topology = collectives.topology
    logs.start(topology, verbosity=verbosity)
    threads = share_cores(available_cores(), topology.local_size)
    distributed.devices.configure(
        intra_op_threads=threads.intra_op,
        inter_op_threads=threads.inter_op,
        local_rank=topology.local_rank,
    )

    # What will happen?
    source = open_source(config.data.source, config.data.placement)
    source = open_images(
        config, source=place(source, config, collectives), num_threads=threads.data
    )
    plan = make_evaluation_plan(
        config,
        num_examples=source.num_examples("held_out"),
        size=topology.size,
        hosts=host_shares_of(source, config),
    )
    distributed.agreement.require_same(
        collectives,
        {
            "configuration": to_tree(config),
            "model": run_dir.digest(model_path),
            "data": source.fingerprint,
        },
        "give every rank the same files",
    )

    # The model and its metrics.
    model = load_model(model_path, image_shape_of(source, config), len(source.class_names))
    metrics = evaluate_model(
        model, source, config, plan, collectives=collectives, num_threads=threads.data
    )
    logger.log(logs.RESULT, "%s", describe(metrics))
    if out_path is None:
        logger.log(logs.RESULT, "%s", json.dumps(metrics, indent=2))
    elif topology.is_root:
        run_dir.write_json(out_path, metrics)
        logger.info("written to %s", out_path)
    collectives.barrier()
    return metrics


def evaluate_model(
    model: keras.Model,
    source: ImageSource,
    config: RunConfig,
    plan: EvaluationPlan,
    *,
    collectives: distributed.Collectives,
    num_threads: int,
    quarantine_path: Path | None = None,
    predict: Any = None,
) -> dict[str, Any]:
    """Evaluates a model on the held-out split; every example is counted once.

    Collective: every rank must call this with equal weights.

    Args:
        model: From images to logits.
        source: The images.
        config: Says how images are cut.
        plan: How the split is cut into blocks.
        collectives: How the ranks talk.
        num_threads: Threads of the dataset.
        quarantine_path: File to which the root adds what `data.bad_examples: quarantine`
            leaves out; None writes nothing.
        predict: What `make_predict` returned for this model, if it is evaluated often.

    Returns:
        The metrics, the same on all ranks.

    Raises:
        DataError: If an image cannot be read; with `quarantine`, if too many cannot.
    """
    rank, size = collectives.topology.rank, collectives.topology.size
    numbers, blocks = rank_blocks(plan, rank=rank, size=size, division=source.division)
    dataset = evaluation_dataset(
        source, config, plan, rank=rank, size=size, num_threads=num_threads
    )
    tally = Tally.empty(
        num_blocks=-(-plan.num_examples // plan.block_size),
        num_classes=len(source.class_names),
        num_examples=plan.num_examples,
    )
    predict = predict or make_predict(model, config.evaluation.views)
    batches = iter(dataset)
    for number, examples in zip(numbers.tolist(), blocks, strict=True):
        try:
            images, targets, weights = next(batches)
        except tf.errors.OpError as error:
            raise name_unreadable_block(source, config, examples, error) from None
        if number < 0:
            continue
        logits = predict(images)
        is_good = weights.numpy() > 0
        tally.leave_out(examples[(examples >= 0) & ~is_good])
        counted = np.where(is_good, examples, -1)
        tally.add(number, counted, np.argmax(targets, axis=-1), logits.numpy())
    report_held_out(
        np.flatnonzero(tally.times_unreadable),
        source,
        config,
        collectives=collectives,
        path=quarantine_path,
    )
    return tally.summed_over_ranks(collectives.sum_arrays).result(source.class_names)


def load_model(path: Path, image_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Returns the model in a file, without executing anything that is in it.

    Raises:
        CheckpointError: If the file is no model or does not fit the data.
    """
    model = read_model(path)
    expected = (None, *image_shape), (None, num_classes)
    shapes = getattr(model, "input_shape", ()), getattr(model, "output_shape", ())
    if not all(fits(shape, wanted) for shape, wanted in zip(shapes, expected, strict=True)):
        raise CheckpointError(
            f"{path}: a model from {shapes[0]} to {shapes[1]}, but the data "
            f"need one from {expected[0]} to {expected[1]}; give the pipeline it was trained with"
        )
    return hvd.accelerate(model)


def describe(metrics: dict[str, Any]) -> str:
    """Returns the metrics in one line."""
    loss = "not a finite number" if metrics["loss"] is None else f"{metrics['loss']:.4f}"
    unreadable = metrics["num_unreadable"]
    left_out = f"; {unreadable:,} unreadable left out" if unreadable else ""
    return (
        f"held-out accuracy {metrics['top1']:.4f} ({metrics['num_correct']:,} of "
        f"{metrics['num_examples']:,}), loss {loss}{left_out}"
    )
