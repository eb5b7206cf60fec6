"""Downloads published weights before a run: one rank per host, while the others wait."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hvd_imgcls import distributed
from hvd_imgcls.config.model_files import imagenet_file_of
from hvd_imgcls.config.models import KerasApplication, KerasHub, Model
from hvd_imgcls.config.models.imagenet_files import keras_models_folder
from hvd_imgcls.environment.record import host_name
from hvd_imgcls.errors import CheckpointError, HvdImgclsError
from hvd_imgcls.logs import Pace
from hvd_imgcls.models.applications.imagenet_download import ImageNetDownload
from hvd_imgcls.models.applications.imagenet_sources import published_file
from hvd_imgcls.models.downloading import Download, describe_progress
from hvd_imgcls.models.files import digest_or_reason
from hvd_imgcls.models.keras_hub_presets import digests_of_preset, preset_download

logger = logging.getLogger(__name__)

# Between two messages of all ranks. They keep Horovod from taking a waiting rank for a stalled one.
_POLL_SECONDS = 0.5


def fetch_weights(
    config: Model,
    image_shape: tuple[int, int, int],
    num_classes: int,
    collectives: distributed.Collectives,
) -> None:
    """Downloads the published weights of a model on every host that lacks them, if it uses any.

    Collective: every rank must call this with equal arguments.

    Args:
        config: The `model` section.
        image_shape: Height, width and channels.
        num_classes: Number of classes.
        collectives: Communication between the ranks.

    Raises:
        CheckpointError: On all ranks, if a host cannot download them.
        RankMismatchError: If the files differ between ranks.
        SetupError: If the model needs a package that is not installed.
    """
    path = imagenet_file_of(config, image_shape, num_classes)
    if path is None and not isinstance(config, KerasHub):
        return
    download, error = None, None
    try:
        download = _download_of(config, image_shape, num_classes)
    except HvdImgclsError as caught:
        error = caught
    if collectives.topology.local_rank != 0:
        download = None
    elif download is not None:
        download.start()
    _wait(download, error, collectives)
    digests = _digests_of(config, path)
    distributed.agreement.require_same(
        collectives,
        {"model files": digests},
        "delete them on the hosts where they differ, or copy them from one host to the others",
    )


def _digests_of(config: Model, path: Path | None) -> dict[str, str]:
    """Returns hashes of the files that were fetched, by name."""
    if isinstance(config, KerasHub):
        return digests_of_preset(config.preset)
    return {path.name: digest_or_reason(path)} if path is not None else {}


def _download_of(
    config: Model, image_shape: tuple[int, int, int], num_classes: int
) -> Download | None:
    """Returns the download of published weights; None for a directory or file of the user."""
    if isinstance(config, KerasHub):
        return preset_download(config.preset)
    if isinstance(config, KerasApplication):
        file = published_file(config.application, image_shape[:2], num_classes)
        return ImageNetDownload(file, keras_models_folder())
    return None


def _wait(
    download: Download | None, error: HvdImgclsError | None, collectives: distributed.Collectives
) -> None:
    """Waits until all hosts have the files, with progress on the root. Collective."""
    pace, has_waited = Pace(), False
    while True:
        states = collectives.gather_json(_state(download, error))
        failed = [state for state in states if state["error"]]
        if failed:
            _raise(failed, states, error)
        unfinished = [state for state in states if not state["is_done"]]
        if not unfinished:
            if has_waited:
                logger.info("download: complete on all hosts")
            return
        if not has_waited or pace.is_due():
            texts = (f"{state['host']}: {state['text']}" for state in unfinished)
            logger.info("download: %s", "; ".join(texts))
        has_waited = True
        time.sleep(_POLL_SECONDS)


def _state(download: Download | None, error: HvdImgclsError | None) -> dict[str, str | bool]:
    """Returns how far this rank is, as JSON."""
    state: dict[str, str | bool] = {"host": host_name(), "is_done": True, "error": "", "text": ""}
    if error is not None:
        return {**state, "error": str(error)}
    if download is None:
        return state
    progress = download.check()
    return {
        **state,
        "is_done": progress.phase == "done",
        "error": progress.error if progress.phase == "failed" else "",
        "text": f"{download.name}, {describe_progress(progress)}",
    }


def _raise(
    failed: Sequence[dict[str, str | bool]],
    states: Sequence[dict[str, str | bool]],
    own: HvdImgclsError | None,
) -> NoReturn:
    """Raises this rank's own error, or that of another rank."""
    has_several_hosts = len({state["host"] for state in states}) > 1
    where = f"host {failed[0]['host']}: " if has_several_hosts else ""
    error = own or CheckpointError(f"{where}{failed[0]['error']}")
    error.is_of_all_ranks = True
    raise error
