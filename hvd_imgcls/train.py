"""The story of `hvd-imgcls train`: from a configuration to a model and its metrics."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

import hvd_imgcls.keras as hvd
from hvd_imgcls import distributed, logs, run_dir
from hvd_imgcls.config import RunConfig, to_tree, to_yaml
from hvd_imgcls.config.models import GivenModel
from hvd_imgcls.data import ImageSource, host_shares_of, image_shape_of, open_images, open_source
from hvd_imgcls.data.blanks import Sightings
from hvd_imgcls.data.dataset import training_dataset
from hvd_imgcls.data.placing import place
from hvd_imgcls.data.unreadable import naming_unreadable_images
from hvd_imgcls.evaluate import describe as describe_metrics
from hvd_imgcls.evaluate import evaluate_model
from hvd_imgcls.keras.proof import weights_digest
from hvd_imgcls.losses import build_loss
from hvd_imgcls.models import accept_given_model, build_model, no_model_given
from hvd_imgcls.models.files import digests_of_files
from hvd_imgcls.optimizers import build_optimizer
from hvd_imgcls.plan import Plan, available_cores, describe, make_plan, share_cores
from hvd_imgcls.progress import Progress, StopAfterSteps
from hvd_imgcls.quarantine import Quarantine
from hvd_imgcls.run_dir import RunDir
from hvd_imgcls.schedules import build_schedule
from hvd_imgcls.versions import code_version

logger = logging.getLogger(__name__)

COMPRESSIONS = {"none": hvd.Compression.none, "fp16": hvd.Compression.fp16}


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """What a training has led to.

    Attributes:
        run_dir: Where everything is.
        metrics: Exact metrics of the held-out split.
        weights_digest: Hash of the model's weights, the same on all ranks.
    """

    run_dir: RunDir
    metrics: dict[str, Any]
    weights_digest: str


def train(
    config: RunConfig,
    *,
    model: keras.Model | None = None,
    source: ImageSource | None = None,
    pipeline_name: str = "run",
    verbose: bool = False,
) -> TrainResult:
    """Trains one image classifier, evaluates it and writes its run directory.

    Collective: every rank must call this with equal arguments.

    Args:
        config: What to train.
        model: A model of your own, which takes the place of the configuration's and is trained
            itself, not a copy: from images `[batch, height, width, channels]`, uint8 pixels
            0 .. 255, to float32 logits `[batch, num_classes]`, without a softmax. The run
            directory's configuration says `model: {name: given}` then.
        source: The images, if the configuration's source is open already.
        pipeline_name: Names the run directory if the configuration does not.
        verbose: Whether every rank says everything.

    Raises:
        ConfigError: If the configuration does not go with the data, the ranks, or a run
            that is there already; if a given model does not fit, or none is given for the
            name `given`.
        CheckpointError: If the model comes from a file that does not fit.
        RankMismatchError: If the ranks do not hold the same thing.
    """
    if model is not None:
        config = dataclasses.replace(config, model=GivenModel(name="given"))
    elif isinstance(config.model, GivenModel):
        raise no_model_given()

    # Who are we?
    collectives = distributed.start()
    topology = collectives.topology
    logs.start(topology, verbose=verbose)

    # What will happen? Plain arithmetic, said before anything expensive starts.
    threads = share_cores(available_cores(), topology.local_size)
    distributed.devices.configure(
        intra_op_threads=threads.intra_op,
        inter_op_threads=threads.inter_op,
        local_rank=topology.local_rank,
    )
    source = source or open_source(config.data.source, config.data.placement)
    source = place(source, config, collectives)
    source = open_images(config, source=source, num_threads=threads.data)
    plan = make_plan(
        config,
        num_train_examples=source.num_examples("train"),
        num_held_out_examples=source.num_examples("held_out"),
        num_classes=len(source.class_names),
        topology=topology,
        hosts=host_shares_of(source, config),
    )
    _require_same(config, plan, source, collectives)
    files = _begin_run_dir(config, plan, pipeline_name, collectives)
    logger.info("%s", describe(plan, config))
    for note in source.notes:
        logger.info("note: %s", note)

    # The parts. Equal seeds: every rank builds the same weights.
    keras.utils.set_random_seed(plan.seed)
    keras.config.set_dtype_policy(config.train.precision)
    image_shape, num_classes = image_shape_of(source, config), plan.num_classes
    if model is None:
        model = build_model(config.model, image_shape, num_classes, config.data.normalization)
    else:
        model = accept_given_model(model, image_shape, num_classes, config.train.precision)
    _require_same_variables(model, collectives)
    compile_model(model, config, plan)

    # Train.
    _fit(model, source, config, plan, collectives, files)

    # What came of it: the same model on all ranks, its exact metrics, its files.
    digest = _require_same_weights(model, collectives)
    metrics = evaluate_model(
        model,
        source,
        config,
        plan.evaluation,
        collectives=collectives,
        num_threads=plan.threads.data,
        quarantine_path=files.quarantine,
    )
    result = TrainResult(run_dir=files, metrics=metrics, weights_digest=digest)
    _write_and_tell(result, model, collectives)
    return result


def _require_same(
    config: RunConfig, plan: Plan, source: ImageSource, collectives: distributed.Collectives
) -> None:
    """Raises on all ranks if they would not train the same. Collective."""
    values = {
        "version": code_version(),
        "configuration": to_tree(config),
        "plan": plan.agreed(),
        "data": source.fingerprint,
        "model files": digests_of_files(config.model),
    }
    distributed.agreement.require_same(
        collectives,
        values,
        "start every rank with the same version, pipeline file, command line, images and model "
        "files",
    )


def _require_same_variables(model: keras.Model, collectives: distributed.Collectives) -> None:
    """Raises on all ranks if their models differ in a variable's place or shape. Collective."""
    variables = [f"{list(v.shape)} {v.dtype} {v.name}" for v in model.variables]
    distributed.agreement.require_same(
        collectives,
        {"model": {"number of variables": len(variables), "variable": variables}},
        "give every rank the same model",
    )


def _begin_run_dir(
    config: RunConfig, plan: Plan, pipeline_name: str, collectives: distributed.Collectives
) -> RunDir:
    """Returns the run directory that the root makes and writes configuration and plan into.

    Collective: every rank must call this. All ranks fail if the root cannot make it.
    """

    def begin() -> str:
        begun = run_dir.begin_named(config.run_dir, pipeline_name)
        logs.add_file(begun.log)
        run_dir.write_text(begun.config, to_yaml(config))
        run_dir.write_json(begun.plan, plan.to_json())
        return str(begun.path)

    return RunDir(Path(distributed.agreement.on_root(collectives, begin)))


def compile_model(model: keras.Model, config: RunConfig, plan: Plan) -> None:
    """Gives the model its loss, its metrics and an optimizer that averages over the ranks."""
    optimizer = build_optimizer(config.optimizer, build_schedule(config.schedule, plan))
    model.compile(
        optimizer=hvd.DistributedOptimizer(
            optimizer,
            compression=COMPRESSIONS[config.synchronization.compression],
            backward_passes_per_step=plan.gradient_accumulation_steps,
            average_aggregated_gradients=True,
            check_every_steps=plan.check_every_steps,
        ),
        loss=build_loss(config.loss),
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )


def _fit(
    model: keras.Model,
    source: ImageSource,
    config: RunConfig,
    plan: Plan,
    collectives: distributed.Collectives,
    files: RunDir,
) -> None:
    """Trains to the end of the plan. Collective."""
    topology, sightings = collectives.topology, Sightings()
    callbacks = _make_callbacks(plan, files.metrics if topology.is_root else None)
    if config.data.bad_examples == "quarantine":
        callbacks.append(Quarantine(source, config, plan, sightings, collectives, files.quarantine))
    dataset = training_dataset(
        source,
        config,
        plan,
        rank=topology.rank,
        collectives=collectives,
        sightings=sightings,
    )
    with naming_unreadable_images(
        source,
        config,
        plan,
        rank=topology.rank,
        finished_steps=lambda: int(model.optimizer.iterations),
    ):
        model.fit(
            dataset,
            epochs=plan.num_epochs,
            steps_per_epoch=plan.batches_per_epoch,
            callbacks=callbacks,
            # The dataset has its order already.
            shuffle=False,
            verbose=0,
        )


def _make_callbacks(plan: Plan, metrics_path: Path | None) -> list[keras.callbacks.Callback]:
    """Returns the callbacks, on every rank the same ones in the same order."""
    callbacks = [
        # First: the others must see the weights that all ranks share.
        hvd.callbacks.BroadcastGlobalVariablesCallback(0),
        # Before whoever reads the metrics of an epoch: they are one rank's until then.
        hvd.callbacks.MetricAverageCallback(),
        Progress(plan, metrics_path=metrics_path),
    ]
    if plan.num_steps % plan.steps_per_epoch:
        callbacks.append(StopAfterSteps(plan))
    return callbacks


def _require_same_weights(model: keras.Model, collectives: distributed.Collectives) -> str:
    """Returns the hash of the weights; raises on all ranks if it differs. Collective."""
    digest: str = weights_digest(model)
    distributed.agreement.require_same(
        collectives,
        {"weights": digest},
        "this is a bug in the synchronisation: please report it with the log and config.yaml",
    )
    return digest


def _write_and_tell(
    result: TrainResult, model: keras.Model, collectives: distributed.Collectives
) -> None:
    """Writes what came of the training; all ranks wait until it is there. Collective."""
    if collectives.topology.is_root:
        run_dir.write_json(result.run_dir.evaluation, result.metrics)
        run_dir.write_model(result.run_dir.model, model)
    collectives.barrier()
    logger.info("%s", describe_metrics(result.metrics))
    logger.info(
        "the same model on all ranks: yes (%d x %s)",
        collectives.topology.size,
        result.weights_digest,
    )
    logger.info("everything is in %s", result.run_dir.path)
