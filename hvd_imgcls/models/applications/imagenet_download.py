"""Downloads ImageNet weights with Keras's loader: completely or not at all."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from keras.src.utils import file_utils

from hvd_imgcls.files.atomic import replacing
from hvd_imgcls.models.applications.imagenet_sources import PublishedFile
from hvd_imgcls.models.downloading import Download, finish

logger = logging.getLogger(__name__)


class ImageNetDownload(Download):
    """Brings a file into Keras's folder; it has its name there only when it is complete.

    Args:
        file: The file.
        folder: Keras's folder.
    """

    def __init__(self, file: PublishedFile, folder: Path) -> None:
        super().__init__(file.name)
        self._file = file
        self.path = folder / file.name

    @property
    def lock_path(self) -> Path:
        """Beside the file."""
        return self.path.with_name(f".{self.path.name}.lock")

    def is_there(self) -> bool:
        """Returns whether the file is there and, if Keras knows its hash, has that hash."""
        if not self.path.is_file():
            return False
        return self._file.hash is None or file_utils.validate_file(self.path, self._file.hash)

    def download(self) -> None:
        """Downloads under another name, so that a killed process leaves no partial file."""
        if self.path.exists():
            logger.warning("%s: not the published file, by its hash; replacing it", self.path)
        self.report(0, None)
        with replacing(self.path) as partial, _reporting_to(self.report):
            # Keras would take a partial file without a hash as complete.
            partial.unlink(missing_ok=True)
            file_utils.get_file(
                partial.name,
                self._file.url,
                cache_subdir=str(partial.parent),
                file_hash=self._file.hash,
            )

    def failure(self, reason: str) -> str:
        """Returns the message."""
        # Keras repeats the address: "URL fetch failure on ADDRESS: CODE -- REASON".
        reason = reason.removeprefix(f"URL fetch failure on {self._file.url}: ")
        reason = reason.removeprefix("None -- ")
        there = ""
        if self.path.exists():
            there = f"{self.path} is not the published file, by its hash, and "
        return (
            f"model.weights: imagenet: {there}{self.path.name} cannot be downloaded from "
            f"{self._file.url} ({reason}); download it elsewhere and copy it to {self.path} on "
            "every host, or set model.weights to a file of yours, or to null for random weights"
        )


def fetch(file: PublishedFile, folder: Path) -> Path:
    """Returns the path of a file in Keras's folder, downloading it if it is not there.

    Not collective: processes coordinate through a file lock.

    Raises:
        CheckpointError: If it cannot be downloaded; the message says where to place it.
    """
    download = ImageNetDownload(file, folder)
    finish(download)
    return download.path


@contextlib.contextmanager
def _reporting_to(report: Callable[[int, int | None], None]) -> Iterator[None]:
    """Reports the progress of Keras's loader, in place of its progress bar."""

    class Bar:
        def __init__(self, target: int | None) -> None:
            self.target = target

        def update(self, current: int) -> None:
            report(current, self.target)

    bar = file_utils.Progbar
    file_utils.Progbar = Bar
    try:
        yield
    finally:
        file_utils.Progbar = bar
