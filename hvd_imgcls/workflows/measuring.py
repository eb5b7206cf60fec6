"""Measures a few steps of a run, to estimate the time and memory of the whole."""

from __future__ import annotations

import dataclasses
import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.models import KerasApplication
from hvd_imgcls.config.reading.class_sharding import require_dense_head
from hvd_imgcls.data.pipeline.dataset import training_dataset
from hvd_imgcls.plan import Plan
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.state_registry import StateRegistry
from hvd_imgcls.text.numbers import duration
from hvd_imgcls.workflows.progress import Record
from hvd_imgcls.workflows.progress.summary import peak_memory_bytes
from hvd_imgcls.workflows.startup.images import RunImages
from hvd_imgcls.workflows.startup.ranks import Ranks
from hvd_imgcls.workflows.training.hang_limits import HangLimits
from hvd_imgcls.workflows.training.model import labelled_phase, make_model
from hvd_imgcls.workflows.training.run import Run

# At least that many steps, then until the time is up.
MIN_STEPS, MAX_STEPS, SECONDS = 3, 50, 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Costs of one rank.

    Attributes:
        first_step_seconds: Time to the end of the first step, with tracing and compiling.
        step_seconds: Median time of a later step, with its data, without the allreduce.
        num_steps: Steps that were measured.
        forward_seconds: Time of the network for one batch, without training it.
        peak_bytes: Largest resident memory of this process, or of the machine's GPU if it has one.
    """

    first_step_seconds: float
    step_seconds: float
    num_steps: int
    forward_seconds: float
    peak_bytes: int

    def training_seconds(self, plan: Plan) -> float:
        """Returns the estimated time of all steps of a plan."""
        return self.first_step_seconds + self.step_seconds * plan.num_steps

    def evaluation_seconds(self, plan: Plan) -> float:
        """Returns the estimated time of one evaluation, without reading the images."""
        in_a_batch = plan.per_rank_batch_size * plan.size
        return self.forward_seconds * -(-plan.evaluation.num_examples // in_a_batch)

    def seconds_of(self, plan: Plan) -> float:
        """Returns the estimated time of a whole run."""
        return self.training_seconds(plan) + self.evaluation_seconds(plan)


def measure(config: RunConfig, images: RunImages, plan: Plan, ranks: Ranks) -> Measured:
    """Trains a few steps of the first rank in this process, and forgets the result.

    Nothing is written, and pretrained weights are not read. Layers are not frozen, so that the
    most expensive steps are measured.

    Args:
        config: The configuration.
        images: The images of the run.
        plan: The plan, for any number of ranks.
        ranks: This process alone.
    """
    config = _without_weights(config)
    require_dense_head(config, "--measure, which measures one rank")
    run = Run(
        config=config,
        plan=dataclasses.replace(plan, threads=ranks.threads),
        images=images,
        ranks=ranks,
        files=RunDir(Path()),
        record=Record(),
        states=StateRegistry(),
        limits=HangLimits(None, ranks.topology),
    )
    begun = time.perf_counter()
    model = make_model(run, None)
    phase = labelled_phase(run, model)
    phase.compile()
    dataset = training_dataset(images.labelled, config, run.plan, rank=0)
    batches = iter(dataset)
    first: tuple[Any, ...] = next(batches)
    model.train_on_batch(*first)
    first_step_seconds = time.perf_counter() - begun
    seconds: list[float] = []
    for _ in range(min(MAX_STEPS, plan.num_steps) or 1):
        begun = time.perf_counter()
        batch = next(batches, first)
        for _ in range(plan.gradient_accumulation_steps):
            model.train_on_batch(*batch)
        seconds.append(time.perf_counter() - begun)
        if len(seconds) >= MIN_STEPS and sum(seconds) > SECONDS:
            break
    return Measured(
        first_step_seconds=first_step_seconds,
        step_seconds=float(np.median(seconds)),
        num_steps=len(seconds),
        forward_seconds=_forward_seconds(model, first[0]),
        peak_bytes=peak_memory_bytes(),
    )


def describe_measured(measured: Measured, plan: Plan) -> list[str]:
    """Returns the estimate for the whole run as lines.

    Args:
        measured: Result of `measure`.
        plan: The plan of the run.
    """
    training, evaluation = measured.training_seconds(plan), measured.evaluation_seconds(plan)
    speed = plan.global_batch_size / measured.step_seconds
    allreduce = ", without the allreduce" if plan.size > 1 else ""
    lines = [
        f"measured: {measured.num_steps} steps on this machine, {measured.step_seconds:.3g} s each "
        f"after {duration(measured.first_step_seconds)} for the first ({speed:,.0f} images/s"
        f"{' on all ranks' if plan.size > 1 else ''}{allreduce})",
        f"time: about {duration(training + evaluation)} (training {duration(training)}, evaluation "
        f"{duration(evaluation)})",
        f"memory: {measured.peak_bytes / 2**30:.1f} GiB per rank at the peak",
    ]
    if plan.size > 1:
        lines.append(
            "note: one rank was measured alone; ranks that share cores, memory or disks are slower"
        )
    return lines


def _forward_seconds(model: keras.Model, images: Any) -> float:
    predict = tf.function(lambda batch: model(batch, training=False))
    predict(images)
    seconds = []
    for _ in itertools.repeat(None, 3):
        begun = time.perf_counter()
        np.asarray(predict(images))
        seconds.append(time.perf_counter() - begun)
    return float(np.median(seconds))


def _without_weights(config: RunConfig) -> RunConfig:
    if not isinstance(config.model, KerasApplication):
        return config
    return dataclasses.replace(config, model=dataclasses.replace(config.model, weights=None))
