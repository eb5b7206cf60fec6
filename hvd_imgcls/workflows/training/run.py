"""One training run on one rank: the data shared by all its parts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls import distributed, logs
from hvd_imgcls.config import RunConfig, to_tree, to_yaml
from hvd_imgcls.data import ImageSource, image_shape_of
from hvd_imgcls.environment import record as environment_record
from hvd_imgcls.failures import process_state
from hvd_imgcls.files.atomic import write_text
from hvd_imgcls.files.json_files import append_json_lines, write_json
from hvd_imgcls.models.files import digests_of_files
from hvd_imgcls.plan import Plan, describe_plan
from hvd_imgcls.run_directory.creation import begin_named
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.state_registry import State, StateRegistry
from hvd_imgcls.versions import code_version
from hvd_imgcls.workflows.progress import Board, Record
from hvd_imgcls.workflows.startup.images import RunImages, open_run_images, plan_run
from hvd_imgcls.workflows.startup.large_images import note_on_large_images
from hvd_imgcls.workflows.startup.ranks import Ranks
from hvd_imgcls.workflows.training.weights_download import fetch_weights

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run that has started.

    Attributes:
        config: The configuration.
        plan: The plan derived from it.
        images: The images of the run.
        ranks: The ranks of the run.
        files: The run directory.
        record: Results so far; updated.
        states: The state that the run keeps between steps.
        resumed: The states from which the run is resumed; None for a new run.
    """

    config: RunConfig
    plan: Plan
    images: RunImages
    ranks: Ranks
    files: RunDir
    record: Record
    states: StateRegistry
    resumed: Mapping[str, State] | None = None

    @property
    def source(self) -> ImageSource:
        """The images of supervised training, and the held-out images."""
        return self.images.labelled

    @property
    def collectives(self) -> distributed.Collectives:
        """Communication between the ranks."""
        return self.ranks.collectives

    @property
    def rank(self) -> int:
        """This rank."""
        return self.ranks.topology.rank

    @property
    def is_root(self) -> bool:
        """Whether this rank writes files."""
        return self.ranks.topology.is_root

    def resumed_states(self, phase: str) -> Mapping[str, State] | None:
        """Returns the states to resume from, if they are those of this phase."""
        if self.resumed is None or f"{phase}.position" not in self.resumed:
            return None
        return self.resumed


def begin(
    config: RunConfig,
    ranks: Ranks,
    *,
    source: ImageSource | None = None,
    plan: Plan | None = None,
    pipeline_name: str,
    verbosity: logs.Verbosity = logs.Verbosity.NORMAL,
    resumed: Mapping[str, State] | None = None,
) -> Run:
    """Opens the images, downloads weights, creates the run directory, and prints the plan.

    Collective: every rank must call this with equal arguments.

    Args:
        config: The configuration.
        ranks: The ranks of the run.
        source: The images, if the configuration's source is already open.
        plan: The plan, if already created.
        pipeline_name: Name of the run directory if the configuration does not define it.
        verbosity: How much is written to the log file.
        resumed: The states of an earlier run with the same configuration, to resume from.

    Raises:
        ConfigError: If the configuration does not suit the data, the ranks, or an existing
            run.
        CheckpointError: If published weights cannot be downloaded.
        RankMismatchError: If values differ between ranks.
    """
    record, states = Record(), StateRegistry()
    states.register("record", record, differs_by_rank=True)
    collectives, topology = ranks.collectives, ranks.topology
    images = open_run_images(
        config, source=source, collectives=collectives, num_threads=ranks.threads.data
    )
    source = images.labelled
    plan = (plan or plan_run(config, images, topology)).on_host(topology, ranks.threads)
    _require_same(config, plan, source, collectives)
    # Before the run directory, so that a failure leaves none behind.
    fetch_weights(config.model, image_shape_of(source, config), plan.num_classes, collectives)
    files = _begin_run_dir(config, plan, pipeline_name, collectives, verbosity)
    logger.info("%s", describe_plan(plan, config))
    for note in source.notes:
        logger.info("note: %s", note)
    hosts = collectives.gather_json(environment_record.host_name())
    if topology.is_root:
        about_size = note_on_large_images(source, config)
        if about_size is not None:
            logger.info("note: %s", about_size)
        launch = environment_record.describe_launch(hosts, source.fingerprint)
        append_json_lines(files.launches, [launch])
        write_json(files.classes, list(source.class_names))
    if topology.is_root and config.logging.tensorboard:
        record.board = Board(files.tensorboard)
    return Run(
        config=config,
        plan=plan,
        images=images,
        ranks=ranks,
        files=files,
        record=record,
        states=states,
        resumed=resumed,
    )


def _require_same(
    config: RunConfig, plan: Plan, source: ImageSource, collectives: distributed.Collectives
) -> None:
    """Raises on all ranks if their settings differ. Collective."""
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


def _begin_run_dir(
    config: RunConfig,
    plan: Plan,
    pipeline_name: str,
    collectives: distributed.Collectives,
    verbosity: logs.Verbosity,
) -> RunDir:
    """Returns the run directory, which the root creates with configuration and plan in it.

    Collective: every rank must call this. All ranks fail if the root cannot create it.
    """

    def begin() -> str:
        begun = begin_named(config.run_dir, pipeline_name)
        logs.add_file(begun.log, collectives.topology, verbosity=verbosity)
        process_state.remains = f"log and metrics up to here are in {begun.path}"
        write_text(begun.config, to_yaml(config))
        write_json(begun.plan, plan.to_json())
        return str(begun.path)

    return RunDir(Path(distributed.agreement.on_root(collectives, begin)))
