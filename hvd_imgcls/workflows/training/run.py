"""One training run on one rank: what all its chapters need."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls import distributed, logs
from hvd_imgcls.config import RunConfig, to_tree, to_yaml
from hvd_imgcls.data import ImageSource, make_plan_for, open_images, open_source
from hvd_imgcls.data.placement.placing import place
from hvd_imgcls.data.sources.subset import labelled_part
from hvd_imgcls.environment import record as environment_record
from hvd_imgcls.files.atomic import write_text
from hvd_imgcls.files.json_files import append_json_lines, write_json
from hvd_imgcls.models.files import digests_of_files
from hvd_imgcls.plan import Plan, describe_plan
from hvd_imgcls.run_directory.creation import begin_named
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.versions import code_version
from hvd_imgcls.workflows.progress import Board, Record

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run that has begun.

    Attributes:
        config: What the pipeline file says.
        plan: What follows from it.
        source: The images that are trained on with labels, and the held-out ones.
        whole_source: Those, and the training images whose labels are not used.
        collectives: How the ranks talk.
        files: The run directory.
        record: What has happened so far; filled in.
    """

    config: RunConfig
    plan: Plan
    source: ImageSource
    whole_source: ImageSource
    collectives: distributed.Collectives
    files: RunDir
    record: Record

    @property
    def rank(self) -> int:
        """This rank."""
        return self.collectives.topology.rank

    @property
    def is_root(self) -> bool:
        """Whether this rank writes files."""
        return self.collectives.topology.is_root


def begin(
    config: RunConfig,
    *,
    source: ImageSource | None,
    pipeline_name: str,
    collectives: distributed.Collectives,
    verbosity: logs.Verbosity = logs.Verbosity.NORMAL,
) -> Run:
    """Opens the images, makes the plan and the run directory, and says the plan.

    Collective: every rank must call this with equal arguments.

    Args:
        config: What to train.
        source: The images, if the configuration's source is open already.
        pipeline_name: Names the run directory if the configuration does not.
        collectives: How the ranks talk.
        verbosity: How much the log file holds.

    Raises:
        ConfigError: If the configuration does not go with the data, the ranks, or a run
            that is there already.
        RankMismatchError: If the ranks do not hold the same thing.
    """
    record = Record()
    topology = collectives.topology
    threads = distributed.devices.take_share(topology)
    source = source or open_source(config.data.source, config.data.placement)
    source = place(source, config, collectives)
    whole_source = open_images(config, source=source, num_threads=threads.data)
    source = labelled_part(whole_source, config)
    plan = make_plan_for(source, config, topology)
    _require_same(config, plan, source, collectives)
    files = _begin_run_dir(config, plan, pipeline_name, collectives, verbosity)
    logger.info("%s", describe_plan(plan, config))
    for note in source.notes:
        logger.info("note: %s", note)
    hosts = collectives.gather_json(environment_record.host_name())
    if topology.is_root:
        launch = environment_record.describe_launch(hosts, source.fingerprint)
        append_json_lines(files.launches, [launch])
        write_json(files.classes, list(source.class_names))
    if topology.is_root and config.logging.tensorboard:
        record.board = Board(files.tensorboard)
    return Run(
        config=config,
        plan=plan,
        source=source,
        whole_source=whole_source,
        collectives=collectives,
        files=files,
        record=record,
    )


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


def _begin_run_dir(
    config: RunConfig,
    plan: Plan,
    pipeline_name: str,
    collectives: distributed.Collectives,
    verbosity: logs.Verbosity,
) -> RunDir:
    """Returns the run directory that the root makes and writes configuration and plan into.

    Collective: every rank must call this. All ranks fail if the root cannot make it.
    """

    def begin() -> str:
        begun = begin_named(config.run_dir, pipeline_name)
        logs.add_file(begun.log, collectives.topology, verbosity=verbosity)
        write_text(begun.config, to_yaml(config))
        write_json(begun.plan, plan.to_json())
        return str(begun.path)

    return RunDir(Path(distributed.agreement.on_root(collectives, begin)))
