"""`hvd-imgcls evaluate`: exact metrics of a model on the held-out split."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvd_imgcls import distributed, logs
from hvd_imgcls.config import RunConfig, to_tree
from hvd_imgcls.config.models import class_sharded_head
from hvd_imgcls.config.reading.class_sharding import (
    evaluates_by_example,
    require_collected_scores,
)
from hvd_imgcls.data import ImageSource, image_shape_of
from hvd_imgcls.data.bad_examples.unreadable import name_unreadable_block
from hvd_imgcls.data.order.positions import rank_blocks
from hvd_imgcls.data.pipeline.evaluation_dataset import evaluation_dataset
from hvd_imgcls.environment.topology import Topology
from hvd_imgcls.errors import alike_on_all_ranks
from hvd_imgcls.files.json_files import to_json
from hvd_imgcls.keras.class_sharding.head import ClassShardedHead
from hvd_imgcls.keras.class_sharding.part import ClassPart
from hvd_imgcls.keras.class_sharding.results import ResultsFromParts
from hvd_imgcls.metrics import Collector, Evaluated, ExampleCollector, ThresholdTargets, evaluate
from hvd_imgcls.metrics.examples import Examples
from hvd_imgcls.plan import EvaluationPlan
from hvd_imgcls.plan.class_division import ClassDivision
from hvd_imgcls.run_directory.classes import class_names_of
from hvd_imgcls.run_directory.paths import EvaluationFiles
from hvd_imgcls.workflows.evaluating.choice import Choice, choose_images, with_classes_of_model
from hvd_imgcls.workflows.evaluating.collector import make_collector
from hvd_imgcls.workflows.evaluating.files import with_examples, write_evaluation
from hvd_imgcls.workflows.evaluating.notable_images import write_pictures
from hvd_imgcls.workflows.quarantine import report_held_out
from hvd_imgcls.workflows.startup.images import open_run_images, plan_evaluation
from hvd_imgcls.workflows.startup.ranks import Ranks, join_ranks
from hvd_imgcls.workflows.trained_model.loading import (
    class_names_of_saved_model,
    digest_of_model,
    load_saved_model,
    load_trained_model,
)
from hvd_imgcls.workflows.trained_model.test_time_augmentation import make_predict

logger = logging.getLogger(__name__)


def evaluate_file(
    config: RunConfig,
    model_path: Path,
    *,
    choice: Choice | None = None,
    files: EvaluationFiles | None = None,
    pictures_path: Path | None = None,
    is_trusted: bool = False,
    verbosity: logs.Verbosity = logs.Verbosity.NORMAL,
) -> dict[str, Any]:
    """Evaluates a saved model on the held-out split, on any number of ranks.

    Collective: every rank must call this with equal arguments.

    Args:
        config: Defines the data and the evaluation batch size.
        model_path: A `.keras` file, or a SavedModel that `hvd-imgcls export` wrote.
        choice: Which images, the classes of the model, and how those of the images are called.
        files: Where the root writes the results; if None, it only prints the metrics.
        pictures_path: Where the root writes thumbnails of notable images, or None.
        is_trusted: Whether to load code in the model; required for a SavedModel.
        verbosity: How much is logged.

    Returns:
        The metrics, the same on all ranks.

    Raises:
        ConfigError: If metrics are configured whose scores are not collected.
        CheckpointError: If the file is not a model or does not fit the data.
        DataError: If the images have classes that the model does not know.
    """
    # Set up ranks and logging.
    require_collected_scores(config)
    ranks = join_ranks(verbosity)
    collectives, topology, threads = ranks.collectives, ranks.topology, ranks.threads

    # Open the data, match its classes with those of the model by name, and make the plan.
    opened = open_run_images(config, collectives=collectives, num_threads=threads.data)
    choice = choice or Choice()
    with alike_on_all_ranks():
        class_names = choice.class_names or class_names_of(model_path)
        if not class_names and model_path.is_dir() and is_trusted:
            class_names = class_names_of_saved_model(model_path)
        chosen = choose_images(opened.whole, choice)
        source = with_classes_of_model(chosen.source, choice, class_names)
    opened = dataclasses.replace(opened, whole=source)
    plan = plan_evaluation(config, opened, topology.size)
    distributed.agreement.require_same(
        collectives,
        {
            "configuration": to_tree(config),
            "model": digest_of_model(model_path),
            "data": source.fingerprint,
            "classes": list(source.class_names),
        },
        "use the same files on every rank",
    )

    # Load the model and evaluate it.
    images, options = (image_shape_of(source, config), len(source.class_names)), EvaluationOptions()
    with alike_on_all_ranks():
        if model_path.is_dir():
            predict = load_saved_model(model_path, *images, is_trusted=is_trusted)
        else:
            model = load_trained_model(model_path, *images, is_trusted=is_trusted)
            predict, options = _divided(model, config, topology, images[1])
    evaluated = evaluate_model(predict, source, config, plan, ranks=ranks, options=options)
    described = describe_metrics(evaluated.metrics, chosen.what)
    logger.log(logs.RESULT, "%s (%s)", described, chosen.how_many)
    metrics = with_examples(evaluated, source)
    if files is None:
        logger.log(logs.RESULT, "%s", to_json(metrics))
    elif topology.is_root:
        write_evaluation(files, evaluated, source)
        logger.info("results written to %s", files.directory)
        if pictures_path is not None:
            write_pictures(pictures_path, metrics, source, config, num_threads=threads.data)
    collectives.barrier()
    return metrics


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationOptions:
    """What is done in an evaluation in addition to the metrics.

    Attributes:
        quarantine_path: File to which the root appends the images that `data.bad_examples:
            quarantine` excludes, or None.
        with_intervals: Whether to compute the bootstrap intervals; others are always computed.
        on_block: Called before each block, equally often on all ranks.
        from_parts: Computes results from the logits of this rank's classes, which `predict`
            returns then, for the examples of all ranks; None if `predict` returns all classes.
    """

    quarantine_path: Path | None = None
    with_intervals: bool = True
    on_block: Callable[[], None] = lambda: None
    from_parts: ResultsFromParts | None = None


def _divided(
    model: keras.Model, config: RunConfig, topology: Topology, num_classes: int
) -> tuple[Callable[[tf.Tensor], tf.Tensor], EvaluationOptions]:
    """Returns what predicts, and how it is evaluated: by parts if the model was trained so."""
    views, size = config.evaluation.views, topology.size
    is_divided = class_sharded_head(config.model) is not None and evaluates_by_example(config)
    if not is_divided or size > num_classes:
        return make_predict(model, views), EvaluationOptions()
    division = ClassDivision(num_classes=num_classes, num_parts=size, size=size)
    head = ClassShardedHead(model, ClassPart(division, topology.rank))
    options = EvaluationOptions(from_parts=ResultsFromParts(head.part))
    return make_predict(head.model, views), options


def evaluate_model(
    predict: Callable[[tf.Tensor], tf.Tensor],
    source: ImageSource,
    config: RunConfig,
    plan: EvaluationPlan,
    *,
    ranks: Ranks,
    options: EvaluationOptions | None = None,
) -> Evaluated:
    """Evaluates a model on the held-out split, counting every example exactly once.

    Collective: every rank must call this with equal weights.

    Args:
        predict: From images `[batch, height, width, channels]` to logits `[batch, num_classes]`,
            as returned by `make_predict`; see also `options.from_parts`.
        source: The images.
        config: Defines the preprocessing.
        plan: Defines the evaluation blocks.
        ranks: The ranks, which must hold equal weights.
        options: What else is done.

    Raises:
        DataError: If an image cannot be decoded; with `quarantine`, if there are too many.
    """
    options = options or EvaluationOptions()
    collector = _collect(predict, source, config, plan, ranks, options)
    report_held_out(
        np.flatnonzero(collector.times_unreadable),
        source,
        config,
        collectives=ranks.collectives,
        path=options.quarantine_path,
    )
    return evaluate(
        collector,
        source.class_names,
        ranks.collectives,
        seed=config.train.seed,
        with_intervals=options.with_intervals,
        columns=source.columns("held_out"),
        targets=ThresholdTargets(
            recalls=config.evaluation.thresholds.recall,
            precisions=config.evaluation.thresholds.precision,
        ),
    )


def _collect(
    predict: Callable[[tf.Tensor], tf.Tensor],
    source: ImageSource,
    config: RunConfig,
    plan: EvaluationPlan,
    ranks: Ranks,
    options: EvaluationOptions,
) -> Collector | ExampleCollector:
    """Returns the outputs for the examples of this rank. Collective if they come from parts."""
    rank, size = ranks.topology.rank, ranks.topology.size
    numbers, blocks = rank_blocks(plan, rank=rank, size=size, division=source.division)
    dataset = evaluation_dataset(
        source, config, plan, rank=rank, size=size, num_threads=ranks.threads.data
    )
    collector = make_collector(source, config, plan, capacity=int((blocks >= 0).sum()))
    batches, pace, num_done = iter(dataset), logs.Pace(), 0
    for number, examples in zip(numbers.tolist(), blocks, strict=True):
        options.on_block()
        try:
            images, targets, weights = next(batches)
        except tf.errors.OpError as error:
            raise name_unreadable_block(source, config, examples, error) from None
        if number < 0 and options.from_parts is None:
            continue
        logits, labels = predict(images), targets.numpy()
        if labels.ndim > 1:
            labels = np.argmax(labels, axis=-1)
        is_good = weights.numpy() > 0
        collector.leave_out(examples[(examples >= 0) & ~is_good])
        counted = np.where(is_good, examples, -1)
        if options.from_parts is not None and isinstance(collector, ExampleCollector):
            results = options.from_parts(logits, labels)
            collector.add_results(Examples(numbers=counted, labels=labels, **results))
        else:
            collector.add(counted, labels, logits.numpy())
        num_done += int((examples >= 0).sum())
        if pace.is_due():
            # The other ranks have done about as many images as this one.
            done = min(num_done * size, plan.num_examples)
            logger.info("evaluated: %s of %s images", f"{done:,}", f"{plan.num_examples:,}")
    return collector


def describe_metrics(metrics: dict[str, Any], what: str = "held-out accuracy") -> str:
    """Formats the metrics on one line.

    Args:
        metrics: Return value of an evaluation.
        what: What the accuracy is called.
    """
    unreadable, num_examples = metrics["num_unreadable"], metrics["num_examples"]
    left_out = f"; {unreadable:,} unreadable left out" if unreadable else ""
    if metrics["num_not_finite"]:
        return (
            f"{what}: undefined; the outputs for {metrics['num_not_finite']:,} of "
            f"{num_examples:,} images are NaN or infinite{left_out}"
        )
    low, high = metrics["intervals"]["top1"]
    level = f"{100 * metrics['intervals']['level']:.0f} %"
    return (
        f"{what} {metrics['top1']:.4f} ({metrics['num_correct']:,} of "
        f"{num_examples:,}; {level} CI {low:.4f} to {high:.4f}), "
        f"balanced {metrics['balanced_accuracy']:.4f}, largest class {largest_share(metrics):.4f}, "
        f"loss {metrics['loss']:.4f}{left_out}"
    )


def largest_share(metrics: dict[str, Any]) -> float:
    """Returns the fraction of the examples that are of the most frequent class, 0 to 1.

    The accuracy of always predicting that class.
    """
    if "per_class" not in metrics:
        return float(metrics["largest_class"] / metrics["num_examples"])
    support = [row["support"] for row in metrics["per_class"]]
    return float(max(support) / sum(support))
