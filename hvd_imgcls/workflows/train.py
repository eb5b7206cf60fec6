"""`hvd-imgcls train`: trains a model and evaluates it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras

from hvd_imgcls import logs
from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.models import GivenModel
from hvd_imgcls.data import ImageSource
from hvd_imgcls.models import no_model_given
from hvd_imgcls.plan import Plan
from hvd_imgcls.workflows.report import write_report
from hvd_imgcls.workflows.startup.ranks import join_ranks
from hvd_imgcls.workflows.training.fitting import fit
from hvd_imgcls.workflows.training.model import labelled_phase, make_model
from hvd_imgcls.workflows.training.outcome import TrainResult, finish_run
from hvd_imgcls.workflows.training.pretraining import pretrain
from hvd_imgcls.workflows.training.run import begin

__all__ = ["TrainResult", "train"]


def train(
    config: RunConfig,
    *,
    model: keras.Model | None = None,
    source: ImageSource | None = None,
    plan: Plan | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    pipeline_name: str = "run",
    verbosity: logs.Verbosity = logs.Verbosity.NORMAL,
) -> TrainResult:
    """Trains one image classifier, evaluates it and writes its run directory.

    Collective: every rank must call this with equal arguments.

    Args:
        config: What to train.
        model: Your own model, which replaces that of the configuration; the model itself is
            trained, not a copy. From images `[batch, height, width, channels]`, uint8 pixels
            0 .. 255, to float32 logits `[batch, num_classes]`, without a softmax. The
            configuration in the run directory then contains `model: {name: given}`.
        source: The images, if the configuration's source is already open.
        plan: The plan, if already made.
        callbacks: Callbacks of Keras or your own, the same on every rank. They run on the
            root, with metrics over all ranks, and their decisions apply to all ranks: see
            `hvd_imgcls.keras.callbacks.RankSafe`. They come after those of the configuration.
        pipeline_name: Name of the run directory if the configuration does not define it.
        verbosity: How much is logged.

    Raises:
        ConfigError: If the configuration does not suit the data, the ranks, or an existing
            run; if a given model does not fit, or none is given for the name `given`.
        CheckpointError: If the model comes from a file that does not fit.
        RankMismatchError: If values differ between ranks.
        NonFiniteError: If gradients or the loss are NaN or infinite, depending on
            `train.non_finite`.
        RootFailedError: On the other ranks, if a callback fails on the root.
    """
    if model is not None:
        config = dataclasses.replace(config, model=GivenModel(name="given"))
    elif isinstance(config.model, GivenModel):
        raise no_model_given()

    # Set up ranks and logging.
    ranks = join_ranks(verbosity)

    # Make the plan: plain arithmetic, printed before anything expensive starts.
    run = begin(
        config,
        ranks,
        source=source,
        plan=plan,
        pipeline_name=pipeline_name,
        verbosity=verbosity,
    )

    # Train.
    trained = make_model(run, model)
    pretrain(run, trained)
    freezer = fit(run, labelled_phase(run, trained), callbacks)

    # Evaluate and save: identical models on all ranks, exact metrics, files, report.
    result = finish_run(run, trained, freezer)
    if run.is_root and config.logging.report:
        write_report(run.files.path, run.files.report)
    return result
