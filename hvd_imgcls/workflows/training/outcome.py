"""Completes a training run: identical models on all ranks, exact metrics, files."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

import hvd_imgcls.keras as hvd
from hvd_imgcls import distributed, logs
from hvd_imgcls.data.pipeline.dataset import Start, training_dataset
from hvd_imgcls.failures import process_state
from hvd_imgcls.files.json_files import write_json
from hvd_imgcls.files.outside import MAX_RESULTS_BYTES, read_text
from hvd_imgcls.keras.checks.consistency import weights_digest
from hvd_imgcls.keras.saving import write_portable
from hvd_imgcls.optimizers import take_averages
from hvd_imgcls.run_directory.paths import EvaluationFiles, RunDir
from hvd_imgcls.run_directory.status import State, write_status
from hvd_imgcls.workflows.evaluate import EvaluationOptions, describe_metrics
from hvd_imgcls.workflows.evaluating.files import with_examples, write_evaluation
from hvd_imgcls.workflows.evaluating.notable_images import write_pictures
from hvd_imgcls.workflows.progress.summary import describe_run, summarize
from hvd_imgcls.workflows.training.freezing import Freezer
from hvd_imgcls.workflows.training.held_out import PhaseEvaluation
from hvd_imgcls.workflows.training.phase import Phase
from hvd_imgcls.workflows.training.run import Run
from hvd_imgcls.workflows.training.watching import draw_outcome

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """Result of a training run.

    Attributes:
        run_dir: The run directory.
        metrics: Exact metrics of the held-out split.
        weights_digest: Hash of the model's weights, the same on all ranks.
        metrics_without_ema: Metrics with the raw weights, if `train.ema` is used.
    """

    run_dir: RunDir
    metrics: dict[str, Any]
    weights_digest: str
    metrics_without_ema: dict[str, Any] | None = None


def finish_run(run: Run, phase: Phase, freezer: Freezer) -> TrainResult:
    """Evaluates and saves a trained model.

    With averaged weights, both models are evaluated and saved; the averaged one is the
    model of the run.

    Collective: every rank must call this. All ranks wait until the files are written.

    Args:
        run: The run.
        phase: The training that is over; the layers of its model are not frozen any more.
        freezer: What froze them in training.

    Raises:
        RankMismatchError: If the weights differ between ranks.
        DataError: If an image of the held-out split cannot be read.
    """
    run.show("evaluation")
    files, metrics_without_ema, evaluation = run.files, None, PhaseEvaluation(run, phase)
    quarantine_path: Path | None = files.quarantine
    if run.config.train.ema is not None:
        with phase.whole_model() as model:
            _settle_as_trained(run, model, freezer)
            _, metrics_without_ema = _evaluate_and_save(
                run,
                evaluation,
                model,
                files.model_without_ema,
                EvaluationFiles(files.path, "_without_ema"),
                quarantine_path,
            )
        quarantine_path = None
        take_averages(phase.model)
    with phase.whole_model() as model:
        _settle_as_trained(run, model, freezer)
        digest, metrics = _evaluate_and_save(
            run, evaluation, model, files.model, EvaluationFiles(files.path), quarantine_path
        )
        if run.is_root:
            draw_outcome(run, model, metrics)
    if run.is_root:
        write_pictures(
            files.pictures, metrics, run.source, run.config, num_threads=run.plan.threads.data
        )
    summary = summarize(run.record, metrics, num_bad_images=_num_bad_images(run))
    if run.is_root:
        write_json(run.files.summary, summary)
        write_status(run.files, State.FINISHED)
    run.collectives.barrier()
    process_state.is_resumable = False
    process_state.remains = f"the run is complete: {run.files.path}"
    result = TrainResult(
        run_dir=run.files,
        metrics=metrics,
        weights_digest=digest,
        metrics_without_ema=metrics_without_ema,
    )
    _log_result(result, summary, run.plan.size)
    return result


def _evaluate_and_save(
    run: Run,
    evaluation: PhaseEvaluation,
    model: keras.Model,
    model_path: Path,
    files: EvaluationFiles,
    quarantine_path: Path | None,
) -> tuple[str, dict[str, Any]]:
    """Saves a model and its exact metrics; returns the hash of its weights, and the metrics.

    Collective: every rank must call this.
    """
    digest = _require_same_weights(model, run.collectives)
    if run.is_root:
        # Before the evaluation: an unreadable held-out image must not cost the model.
        write_portable(model_path, model)
    checkpointing = run.checkpointing
    polled = contextlib.nullcontext() if checkpointing is None else checkpointing.polled()
    run.limits.compile()
    with run.record.evaluating(), polled:
        options = EvaluationOptions(
            quarantine_path=quarantine_path, on_block=run.on_evaluated_block
        )
        evaluated = evaluation.evaluate(model, options)
    run.limits.save()
    if checkpointing is not None:
        checkpointing.end()
    run.limits.export()
    if run.is_root:
        write_evaluation(files, evaluated, run.source)
    return digest, with_examples(evaluated, run.source)


def _settle_as_trained(run: Run, model: keras.Model, freezer: Freezer) -> None:
    """Settles the moving statistics of the layers that were trained last. Collective."""
    with freezer.as_trained():
        settle_moving_statistics(run, model)


def settle_moving_statistics(run: Run, model: keras.Model) -> None:
    """Makes the moving statistics of batch normalisation equal on all ranks. Collective."""
    num_batches = run.config.train.recalibration_batches
    if not num_batches:
        hvd.average_moving_statistics(model)
        return
    logger.info("recomputing the statistics of batch normalisation from %d batches", num_batches)
    # The images of the epoch after the last: none that this run has trained on in this form.
    num_epochs = run.plan.num_epochs + num_batches
    longer = dataclasses.replace(
        run.plan, num_epochs=num_epochs, num_steps=num_epochs * run.plan.steps_per_epoch
    )
    batches = training_dataset(
        run.source,
        run.config,
        longer,
        rank=run.rank,
        start=Start(epoch=run.plan.num_epochs),
        collectives=run.collectives,
    )
    hvd.recalibrate(model, batches, num_batches=num_batches)


def _require_same_weights(model: keras.Model, collectives: distributed.Collectives) -> str:
    """Returns the hash of the weights; raises on all ranks if it differs. Collective."""
    digest: str = weights_digest(model)
    distributed.agreement.require_same(
        collectives,
        {"weights": digest},
        "this is a bug in the synchronisation: please report it with the log and config.yaml",
    )
    return digest


def _num_bad_images(run: Run) -> int:
    """Returns the number of images left out, of both splits, as written by the root."""
    path = run.files.quarantine
    if not run.is_root or not path.exists():
        return 0
    lines = read_text(path, MAX_RESULTS_BYTES).splitlines()
    # Pre-training and training may have encountered the same image.
    return len({json.loads(line)["name"] for line in lines})


def _log_result(result: TrainResult, summary: dict[str, Any], size: int) -> None:
    lines = [
        describe_metrics(result.metrics),
        f"model identical on all ranks: yes ({size} x {result.weights_digest})",
        *describe_run(summary),
        f"results written to {result.run_dir.path}",
    ]
    if result.metrics_without_ema is not None:
        lines.insert(0, f"without ema: {describe_metrics(result.metrics_without_ema)}")
    for line in lines:
        logger.log(logs.RESULT, "%s", line)
