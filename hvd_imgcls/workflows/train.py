"""The story of `hvd-imgcls train`: from a configuration to a model and its metrics."""

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
        model: A model of your own, which takes the place of the configuration's and is trained
            itself, not a copy: from images `[batch, height, width, channels]`, uint8 pixels
            0 .. 255, to float32 logits `[batch, num_classes]`, without a softmax. The run
            directory's configuration says `model: {name: given}` then.
        source: The images, if the configuration's source is open already.
        plan: The plan, if it was made already.
        callbacks: Callbacks of Keras or your own, the same on every rank. They run on the
            root, with metrics over all ranks, and all ranks do what they decide: see
            `hvd_imgcls.keras.callbacks.RankSafe`. They come after those of the configuration.
        pipeline_name: Names the run directory if the configuration does not.
        verbosity: How much is said.

    Raises:
        ConfigError: If the configuration does not go with the data, the ranks, or a run
            that is there already; if a given model does not fit, or none is given for the
            name `given`.
        CheckpointError: If the model comes from a file that does not fit.
        RankMismatchError: If the ranks do not hold the same thing.
        NonFiniteError: If gradients or the loss are not finite, as `train.non_finite` says.
        RootFailedError: On the other ranks, if a callback fails on the root.
    """
    if model is not None:
        config = dataclasses.replace(config, model=GivenModel(name="given"))
    elif isinstance(config.model, GivenModel):
        raise no_model_given()

    # Set up ranks and logging.
    ranks = join_ranks(verbosity)

    # What will happen? Plain arithmetic, printed before anything expensive starts.
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
    fit(run, labelled_phase(run, trained), callbacks)

    # What came of it: the same model on all ranks, its exact metrics, its files, a page.
    result = finish_run(run, trained)
    if run.is_root and config.logging.report:
        write_report(run.files.path, run.files.report)
    return result
