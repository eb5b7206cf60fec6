"""The model of a run, ready for training."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

import hvd_imgcls.keras as hvd
from hvd_imgcls import distributed
from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.losses import CrossEntropy
from hvd_imgcls.config.models import FastCnn, KerasFile, Model
from hvd_imgcls.config.synchronization import Synchronization
from hvd_imgcls.data import image_shape_of
from hvd_imgcls.data.pipeline.first_images import first_images
from hvd_imgcls.errors import CheckpointError, alike_on_all_ranks
from hvd_imgcls.files.class_lists import listed
from hvd_imgcls.keras.class_sharding.accuracy import ClassShardedAccuracy
from hvd_imgcls.keras.class_sharding.cross_entropy import ClassShardedCrossEntropy
from hvd_imgcls.keras.class_sharding.head import ClassShardedHead
from hvd_imgcls.keras.optimizer.distributed_optimizer import register_part_variables
from hvd_imgcls.losses import build_loss
from hvd_imgcls.models import accept_given_model, build_model
from hvd_imgcls.models.fast_cnn import whiten
from hvd_imgcls.optimizers.recipe import build_recipe
from hvd_imgcls.plan import Plan
from hvd_imgcls.plan.allocation import Allocation
from hvd_imgcls.plan.position import Position
from hvd_imgcls.run_directory.classes import class_names_of
from hvd_imgcls.schedules import build_schedule
from hvd_imgcls.workflows.training.heads import divided_head
from hvd_imgcls.workflows.training.phase import Phase
from hvd_imgcls.workflows.training.run import Run

logger = logging.getLogger(__name__)

# As many as in Jordan 2024 (arXiv:2404.00498).
NUM_WHITENING_IMAGES = 5000

_MODES = {"allreduce": hvd.Allreduce, "delayed": hvd.Delayed, "local_sgd": hvd.LocalSGD}


def make_model(run: Run, given: keras.Model | None) -> keras.Model:
    """Returns the model of a run, not compiled yet.

    Collective: every rank must call this. With equal seeds, every rank builds the same weights.

    Args:
        run: The run.
        given: The user's own model, which is used if given.

    Raises:
        ConfigError: If a given model does not fit.
        CheckpointError: If the model comes from a file that does not fit.
        RankMismatchError: If the models differ between ranks.
    """
    config, plan = run.config, run.plan
    keras.utils.set_random_seed(plan.seed)
    keras.config.set_dtype_policy(config.train.precision)
    image_shape, num_classes = image_shape_of(run.source, config), plan.num_classes
    if given is None:
        with alike_on_all_ranks():
            section = _with_head_for(config.model, run.source.class_names)
            model = build_model(section, image_shape, num_classes, config.data.normalization)
    else:
        model = accept_given_model(given, image_shape, num_classes, config.train.precision)
    if given is None and isinstance(config.model, FastCnn):
        _whiten_on_root(run, model)
    _require_same_variables(model, run.collectives)
    if config.synchronization.batch_normalization == "synchronized":
        hvd.synchronize_batch_normalization(model)
    return hvd.accelerate(model, jit_compile=config.train.compile == "xla")


def _with_head_for(section: Model, class_names: Sequence[str]) -> Model:
    """Returns the section of a model, with a new last layer if its classes are others.

    The number of classes of a run that was trained before says nothing about which they are.

    Raises:
        CheckpointError: If the last layer must be kept.
    """
    if not isinstance(section, KerasFile) or section.replace_head == "always":
        return section
    of_file = class_names_of(Path(section.path).expanduser())
    if not of_file or of_file == tuple(class_names):
        return section
    difference = f"its classes are {listed(of_file)}, not {listed(class_names)}"
    if section.replace_head == "never":
        raise CheckpointError(f"{section.path}: {difference}; set model.replace_head to auto")
    logger.info("%s: %s", section.path, difference)
    return dataclasses.replace(section, replace_head="always")


def _whiten_on_root(run: Run, model: keras.Model) -> None:
    """Whitens the root's first layer with its images; the first step broadcasts it. Collective."""

    def action() -> None:
        images = first_images(
            run.source, run.config, NUM_WHITENING_IMAGES, rank=run.rank, size=run.plan.size
        )
        whiten(model, images)

    distributed.agreement.on_root(run.collectives, action)


def labelled_phase(run: Run, model: keras.Model) -> Phase:
    """Returns the supervised phase, the main phase of a run.

    Collective: every rank must call this.

    Args:
        run: The run.
        model: The whole model; if the configuration says so, its last layer is divided.

    Raises:
        ConfigError: If it cannot be divided.
    """
    is_dynamic = run.config.data.allocation.name == "dynamic"
    head = divided_head(run, model)
    trained = model if head is None else head.model
    return Phase(
        name="training",
        config=run.config,
        plan=run.plan,
        source=run.source,
        model=trained,
        head=head,
        compile=lambda: compile_model(trained, run.config, run.plan, head),
        position=Position(run.plan.gradient_accumulation_steps),
        record=run.record,
        metrics_path=run.files.metrics,
        allocation=Allocation(run.plan) if is_dynamic and run.plan.size > 1 else None,
    )


def compile_model(
    model: keras.Model, config: RunConfig, plan: Plan, head: ClassShardedHead | None = None
) -> None:
    """Compiles the model with its loss, its metrics and a distributed optimizer.

    Args:
        model: The model.
        config: The configuration.
        plan: The plan.
        head: The last layer of the model, if it is divided over the ranks.
    """
    optimizer = distribute(model, config, plan)
    if head is None:
        loss: keras.losses.Loss = build_loss(config.loss)
        accuracy: keras.metrics.Metric = keras.metrics.CategoricalAccuracy(name="accuracy")
    else:
        assert isinstance(config.loss, CrossEntropy)  # noqa: S101 - see require_class_sharding
        loss = ClassShardedCrossEntropy(head.part, config.loss.label_smoothing)
        accuracy = ClassShardedAccuracy(head.part)
        register_part_variables(optimizer, head.variables)
    model.compile(optimizer=optimizer, loss=loss, weighted_metrics=[accuracy])


def distribute(model: keras.Model, config: RunConfig, plan: Plan) -> keras.optimizers.Optimizer:
    """Returns the distributed optimizer of a model."""
    schedule = build_schedule(config.schedule, plan)
    return hvd.DistributedOptimizer(
        build_recipe(config, schedule, model, num_steps=plan.num_steps),
        backward_passes_per_step=plan.gradient_accumulation_steps,
        average_aggregated_gradients=True,
        check_every_steps=plan.check_every_steps,
        # Regardless of `train.non_finite`: NaN and infinity are never applied to the weights.
        skip_non_finite=True,
        **synchronization_arguments(config.synchronization),
    )


def synchronization_arguments(section: Synchronization) -> dict[str, Any]:
    """Returns arguments of `hvd.DistributedOptimizer`: how gradients are reduced.

    Args:
        section: The configuration.
    """
    compression = getattr(hvd.Compression, section.compression.name)
    options, mode = _options(section.compression), _options(section.mode)
    return {
        "groups": mode.pop("groups", None),
        "mode": _MODES[section.mode.name](**mode),
        "compression": compression(**options) if options else compression,
        "shard_optimizer_state": section.shard_optimizer_state,
    }


def _options(section: Any) -> dict[str, Any]:
    values = {field.name: getattr(section, field.name) for field in dataclasses.fields(section)}
    del values["name"]
    return values


def _require_same_variables(model: keras.Model, collectives: distributed.Collectives) -> None:
    """Raises on all ranks if variables differ in position or shape. Collective."""
    variables = [f"{list(v.shape)} {v.dtype} {v.name}" for v in model.variables]
    distributed.agreement.require_same(
        collectives,
        {"model": {"number of variables": len(variables), "variable": variables}},
        "pass the same model on every rank",
    )
