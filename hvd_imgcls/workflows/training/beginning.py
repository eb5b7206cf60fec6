"""Begins a run, or continues it: images, weights, run directory, states."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvd_imgcls import distributed, logs
from hvd_imgcls.config import RunConfig, to_tree, to_yaml
from hvd_imgcls.data import ImageSource, image_shape_of
from hvd_imgcls.environment import record as environment_record
from hvd_imgcls.failures import process_state
from hvd_imgcls.files.atomic import write_text
from hvd_imgcls.files.json_files import append_json_lines, write_json
from hvd_imgcls.launcher.elastic.ranks import elastic_job
from hvd_imgcls.models.files import digests_of_files
from hvd_imgcls.plan import Plan, describe_plan
from hvd_imgcls.run_directory.lock import RunLock
from hvd_imgcls.run_directory.paths import RunDir
from hvd_imgcls.run_directory.rank_failures import forget_failures
from hvd_imgcls.run_directory.status import State, write_status
from hvd_imgcls.saving.newest_state import Resumed
from hvd_imgcls.state_registry import StateRegistry, of_the_root
from hvd_imgcls.versions import code_version
from hvd_imgcls.workflows.progress import Board, Record
from hvd_imgcls.workflows.progress.nodes import start_monitor
from hvd_imgcls.workflows.startup.images import Opened, open_run_images, plan_run
from hvd_imgcls.workflows.startup.large_images import note_on_large_images
from hvd_imgcls.workflows.startup.ranks import Ranks
from hvd_imgcls.workflows.startup.run_place import take_place
from hvd_imgcls.workflows.training.run import Run
from hvd_imgcls.workflows.training.saving.checkpointing import Checkpointing, Destination, Guards
from hvd_imgcls.workflows.training.saving.resuming import (
    appended_files,
    changed_versions,
    cut_to,
    describe_resumption,
    read_newest,
)
from hvd_imgcls.workflows.training.weights.download import fetch_weights

logger = logging.getLogger(__name__)


def begin(
    config: RunConfig,
    ranks: Ranks,
    *,
    opened: Opened | None = None,
    pipeline_name: str,
    verbosity: logs.Verbosity = logs.Verbosity.NORMAL,
    is_fresh: bool = False,
    guards: Guards | None = None,
) -> Run:
    """Opens the images, downloads weights, takes the run directory, and prints the plan.

    Collective: every rank must call this with equal arguments.

    Args:
        config: The configuration.
        ranks: The ranks of the run.
        opened: The images and the plan, if they are there already.
        pipeline_name: Name of the run directory if the configuration does not define it.
        verbosity: How much is written to the log file.
        is_fresh: Whether to begin a new run even if there is an unfinished one to continue.
        guards: What ends the run early.

    Raises:
        ConfigError: If the configuration does not suit the data, the ranks, or an existing
            run.
        CheckpointError: If published weights cannot be downloaded, or all checkpoints are damaged.
        RankMismatchError: If values differ between ranks.
    """
    collectives, topology = ranks.collectives, ranks.topology
    opened = opened or Opened()
    guards = guards or Guards.without(topology)
    images = open_run_images(
        config, source=opened.source, collectives=collectives, num_threads=ranks.threads.data
    )
    source = images.labelled
    plan = opened.plan or plan_run(config, images, topology)
    plan = plan.on_host(topology, ranks.threads)
    _require_same(config, plan, source, collectives)
    # Before the run directory, so that a failure leaves none behind.
    fetch_weights(config.model, image_shape_of(source, config), plan.num_classes, collectives)
    place = _take_place(config, pipeline_name, collectives, is_fresh=is_fresh)
    files = place.files
    guards.limits.write_to(files)
    if topology.is_root:
        logs.add_file(files.log, topology, verbosity=verbosity)
    facts, resumed = _begin_or_continue(config, plan, source, place, collectives)
    logger.info("%s", describe_plan(plan, config))
    _log_notes(source, config)
    record, states = Record(), StateRegistry()
    states.register("record", record, combine=of_the_root)
    if topology.is_root and config.logging.tensorboard:
        record.board = Board(files.tensorboard)
    monitor = start_monitor(config, files, record, collectives)
    checkpointing = None
    if config.checkpoint is not None:
        checkpointing = Checkpointing(
            config.checkpoint,
            states,
            collectives,
            Destination(
                files.checkpoints, facts, appended_files(config, files), required=files.config
            ),
            guards,
        )
    return Run(
        config=config,
        plan=plan,
        images=images,
        ranks=ranks,
        files=files,
        lock=place.lock,
        limits=guards.limits,
        record=record,
        monitor=monitor,
        states=states,
        checkpointing=checkpointing,
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
        "contents of images": source.content_sample,
        "model files": digests_of_files(config.model),
    }
    distributed.agreement.require_same(
        collectives,
        values,
        "start every rank with the same version, pipeline file, command line, images and model "
        "files",
    )


def _begin_or_continue(
    config: RunConfig,
    plan: Plan,
    source: ImageSource,
    place: _Place,
    collectives: distributed.Collectives,
) -> tuple[dict[str, Any], Resumed | None]:
    """Writes the first files; returns facts for checkpoints, and what the run continues from.

    Collective: every rank must call this.
    """
    files = place.files
    hosts = collectives.gather_json(environment_record.host_name())
    launch = environment_record.describe_launch(hosts, source.fingerprint)
    if elastic_job():
        launch["elastic_job"] = elastic_job()
    facts = collectives.broadcast_json(_facts(config, source, launch))
    resumed = read_newest(files, facts, collectives) if place.is_continued else None
    process_state.is_resumable = resumed is not None
    if collectives.topology.is_root:
        if place.is_continued:
            _prepare_continuation(config, files, resumed, facts)
        if resumed is not None:
            launch["continued_after_step"] = resumed.step
        _write_beginning(config, plan, source, files, launch)
    return facts, resumed


def _facts(config: RunConfig, source: ImageSource, launch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the states of this run belong to, as JSON."""
    return {
        "config": to_tree(config),
        "class_names": list(source.class_names),
        "image_shape": list(image_shape_of(source, config)),
        "data": launch["data_fingerprint"],
        "contents": source.content_sample,
        "size": launch["size"],
        "versions": launch["versions"],
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    files: RunDir
    lock: RunLock | None
    is_continued: bool


def _take_place(
    config: RunConfig, pipeline_name: str, collectives: distributed.Collectives, *, is_fresh: bool
) -> _Place:
    """Returns the run directory, which the root chooses and locks.

    Collective: every rank must call this. All ranks fail if the root cannot take one.
    """
    locks: list[RunLock] = []

    def take() -> Any:
        place = take_place(config, pipeline_name, is_fresh=is_fresh)
        locks.append(place.lock)
        forget_failures(place.files)
        return {"path": str(place.files.path), "is_continued": place.is_continued}

    taken = distributed.agreement.on_root(collectives, take)
    return _Place(
        files=RunDir(Path(taken["path"])),
        lock=locks[0] if locks else None,
        is_continued=taken["is_continued"],
    )


def _prepare_continuation(
    config: RunConfig, files: RunDir, resumed: Resumed | None, facts: Mapping[str, Any]
) -> None:
    """Makes the files of a run those of the state from which it is continued. Root only."""
    logger.info("%s", describe_resumption(resumed, files, facts))
    if resumed is not None and resumed.facts.get("contents") != facts["contents"]:
        logger.warning(
            "the contents of some images are not those with which the run began; their names are"
        )
    for change in changed_versions(resumed, facts) if resumed is not None else ():
        logger.warning("since the state was saved, a version has changed: %s", change)
    cut_to(
        appended_files(config, files),
        resumed.facts.get("files", {}) if resumed is not None else {},
    )
    # Of a finished run that is trained longer.
    files.summary.unlink(missing_ok=True)


def _write_beginning(
    config: RunConfig, plan: Plan, source: ImageSource, files: RunDir, launch: Mapping[str, Any]
) -> None:
    """Writes what is known before the first step. Root only."""
    process_state.remains = f"log and metrics up to here are in {files.path}"
    # Of an earlier launch.
    files.progress.unlink(missing_ok=True)
    write_status(files, State.RUNNING)
    write_text(files.config, to_yaml(config))
    write_json(files.plan, plan.to_json())
    append_json_lines(files.launches, [launch])
    write_json(files.classes, list(source.class_names))


def _log_notes(source: ImageSource, config: RunConfig) -> None:
    for note in source.notes:
        logger.info("note: %s", note)
    about_size = note_on_large_images(source, config)
    if about_size is not None:
        logger.info("note: %s", about_size)
