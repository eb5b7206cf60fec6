"""What comes of a training: one model on all ranks, its exact metrics, its files."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

import hvd_imgcls.keras as hvd
from hvd_imgcls import distributed, run_dir
from hvd_imgcls.config import RunConfig
from hvd_imgcls.data import ImageSource
from hvd_imgcls.data.dataset import training_dataset
from hvd_imgcls.evaluate import describe, evaluate_model
from hvd_imgcls.keras.proof import weights_digest
from hvd_imgcls.keras.saving import portable
from hvd_imgcls.optimizers import take_averages
from hvd_imgcls.plan import Plan
from hvd_imgcls.run_dir import RunDir

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """What a training has led to.

    Attributes:
        run_dir: Where everything is.
        metrics: Exact metrics of the held-out split.
        weights_digest: Hash of the model's weights, the same on all ranks.
        metrics_without_ema: Metrics before `train.ema` put the average in the weights' place.
    """

    run_dir: RunDir
    metrics: dict[str, Any]
    weights_digest: str
    metrics_without_ema: dict[str, Any] | None = None


def conclude(
    model: keras.Model,
    source: ImageSource,
    config: RunConfig,
    plan: Plan,
    files: RunDir,
    collectives: distributed.Collectives,
) -> TrainResult:
    """Evaluates a trained model and writes it; with `train.ema`, also the average of its weights.

    Collective: every rank must call this with equal weights. The model holds the average
    afterwards.

    Raises:
        RankMismatchError: If the ranks do not hold the same weights.
        DataError: If a held-out image cannot be read; with `quarantine`, if too many cannot.
    """

    def judge(quarantine_path: Path | None) -> tuple[str, dict[str, Any]]:
        _settle_moving_statistics(model, source, config, plan, collectives)
        digest = _require_same_weights(model, collectives)
        metrics = evaluate_model(
            model,
            source,
            config,
            plan.evaluation,
            collectives=collectives,
            num_threads=plan.threads.data,
            quarantine_path=quarantine_path,
        )
        return digest, metrics

    digest, metrics = judge(files.quarantine)
    metrics_without_ema = None
    if config.train.ema is not None:
        metrics_without_ema = metrics
        if collectives.topology.is_root:
            _write(model, metrics, files.model_without_ema, files.evaluation_without_ema)
        logger.info("without ema: %s", describe(metrics))
        take_averages(model)
        # What could not be read is in the list of bad images already.
        digest, metrics = judge(None)
    if collectives.topology.is_root:
        _write(model, metrics, files.model, files.evaluation)
    collectives.barrier()
    logger.info("%s", describe(metrics))
    logger.info("the same model on all ranks: yes (%d x %s)", collectives.topology.size, digest)
    logger.info("everything is in %s", files.path)
    return TrainResult(
        run_dir=files,
        metrics=metrics,
        weights_digest=digest,
        metrics_without_ema=metrics_without_ema,
    )


def _settle_moving_statistics(
    model: keras.Model,
    source: ImageSource,
    config: RunConfig,
    plan: Plan,
    collectives: distributed.Collectives,
) -> None:
    """Gives all ranks the same statistics of batch normalisation. Collective."""
    num_batches = config.train.recalibration_batches
    if not num_batches:
        hvd.average_moving_statistics(model)
        return
    # The images of the epoch after the last: none that this run has trained on like this.
    one_more = dataclasses.replace(plan, num_epochs=plan.num_epochs + num_batches)
    batches = training_dataset(
        source,
        config,
        one_more,
        rank=collectives.topology.rank,
        start_epoch=plan.num_epochs,
        collectives=collectives,
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


def _write(
    model: keras.Model, metrics: dict[str, Any], model_path: Path, metrics_path: Path
) -> None:
    """Writes a model and its metrics. Root only."""
    run_dir.write_json(metrics_path, metrics)
    run_dir.write_model(model_path, portable(model))
