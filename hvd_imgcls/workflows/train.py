"""`hvd-imgcls train`: trains a model and evaluates it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from hvd_imgcls import logs
from hvd_imgcls.config import RunConfig
from hvd_imgcls.config.models import GivenModel, class_sharded_head
from hvd_imgcls.config.reading.class_sharding import require_dense_head
from hvd_imgcls.interruption import end_by_signal
from hvd_imgcls.models import no_model_given
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.stop_request import StopRequest
from hvd_imgcls.workflows.report import write_report
from hvd_imgcls.workflows.startup.determinism import make_deterministic
from hvd_imgcls.workflows.startup.images import Opened
from hvd_imgcls.workflows.startup.ranks import join_ranks
from hvd_imgcls.workflows.training.beginning import begin
from hvd_imgcls.workflows.training.ending import recorded_end
from hvd_imgcls.workflows.training.fitting import fit
from hvd_imgcls.workflows.training.hang_limits import HangLimits
from hvd_imgcls.workflows.training.model import labelled_phase, make_model
from hvd_imgcls.workflows.training.outcome import TrainResult, finish_run
from hvd_imgcls.workflows.training.pretraining import pretrain
from hvd_imgcls.workflows.training.run import Run
from hvd_imgcls.workflows.training.saving.checkpointing import Guards
from hvd_imgcls.workflows.training.weights.initial import load_initial_weights

__all__ = ["Start", "TrainResult", "train"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """How a run starts.

    Attributes:
        is_fresh: Whether to begin a new run even if there is an unfinished one to continue.
        weights: A checkpoint, or a run directory, from whose weights a new run begins.
    """

    is_fresh: bool = False
    weights: Path | None = None


def train(
    config: RunConfig,
    *,
    model: keras.Model | None = None,
    opened: Opened | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    pipeline_name: str = "run",
    verbosity: logs.Verbosity = logs.Verbosity.NORMAL,
    start: Start | None = None,
) -> TrainResult:
    """Trains one image classifier, evaluates it and writes its run directory.

    A run that did not finish continues from its newest checkpoint: see docs/checkpoints.md. On
    SIGTERM, SIGINT, SIGUSR1 and SIGHUP the run saves its state and ends.

    Collective: every rank must call this with equal arguments.

    Args:
        config: What to train.
        model: Your own model, which replaces that of the configuration; the model itself is
            trained, not a copy. From images `[batch, height, width, channels]`, uint8 pixels
            0 .. 255, to float32 logits `[batch, num_classes]`, without a softmax. The
            configuration in the run directory then contains `model: {name: given}`.
        opened: The images and the plan, if they are there already.
        callbacks: Callbacks of Keras or your own, the same on every rank. They run on the
            root, with metrics over all ranks, and their decisions apply to all ranks: see
            `hvd_imgcls.keras.callbacks.RankSafe`. They come after those of the configuration.
        pipeline_name: Name of the run directory if the configuration does not define it.
        verbosity: How much is logged.
        start: Whether to continue, and from which weights to begin.

    Raises:
        ConfigError: If the configuration does not suit the data, the ranks, or an existing
            run; if a given model does not fit, or none is given for the name `given`.
        CheckpointError: If the model comes from a file that does not fit, or all checkpoints of
            the run are damaged.
        StoppedError: On all ranks, if one receives a signal to stop, after the state is saved.
        RankMismatchError: If values differ between ranks.
        NonFiniteError: If gradients or the loss are NaN or infinite, depending on
            `train.non_finite`.
        RootFailedError: On the other ranks, if a callback fails on the root.
    """
    if model is not None:
        require_dense_head(config, "a model of your own")
        config = dataclasses.replace(config, model=GivenModel(name="given"))
    elif isinstance(config.model, GivenModel):
        raise no_model_given()

    if callbacks:
        require_dense_head(config, "callbacks of your own, which run on the root only")
    start = start or Start()
    if config.train.determinism:
        make_deterministic()
    stop = StopRequest(end_by_signal)
    with stop.listening():
        # Set up ranks and logging.
        head = class_sharded_head(config.model)
        has_copies = head is not None and head.parts is not None
        ranks = join_ranks(verbosity, adds_process_sets=has_copies)
        limits = HangLimits(config.watchdog, ranks.topology)
        with limits.watching():
            # Make the plan: plain arithmetic, printed before anything expensive starts.
            run = begin(
                config,
                ranks,
                opened=opened,
                pipeline_name=pipeline_name,
                verbosity=verbosity,
                is_fresh=start.is_fresh,
                guards=Guards(stop=stop, limits=limits),
            )
            with recorded_end(run), run.monitored():
                return _train(run, model, callbacks, start)


def _train(
    run: Run,
    model: keras.Model | None,
    callbacks: Sequence[keras.callbacks.Callback],
    start: Start,
) -> TrainResult:
    """Trains, evaluates and saves. Collective."""
    # Train.
    trained = make_model(run, model)
    if start.weights is not None and run.resumed is None:
        load_initial_weights(run, trained, start.weights)
    pretrain(run, trained)
    phase = labelled_phase(run, trained)
    freezer = fit(run, phase, callbacks)

    # Evaluate and save: identical models on all ranks, exact metrics, files, report.
    result = finish_run(run, phase, freezer)
    if run.is_root and run.config.logging.report:
        _write_report(run.files)
    return result


def _write_report(files: RunDir) -> None:
    """Writes the report; a full disk does not fail a run that is complete."""
    try:
        write_report(files.path, files.report)
    except OSError as error:
        logger.warning(
            "%s: %s; `hvd-imgcls report %s` writes it later",
            files.report,
            error.strerror or error,
            files.path,
        )
