"""The output of ranks: whole lines, each with the number of its rank."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

# An error is repeated at the end if more lines than these have followed it.
_MAX_LINES_AFTER_ERROR = 20
_MAX_ERROR_LENGTH = 500
_READ_BYTES = 65536
_LABEL = re.compile(r" *([0-9]{1,9}): ")
# Without the prefixes of a rank.
_PREFIX = re.compile(r"^\s*(\[rank [^]]*\] )?(error: )?")


class Output:
    """What all ranks write. Lines of several ranks never mix.

    Args:
        directory: Where each rank's output is also kept: `rank-N.txt`, without prefixes.
        upstream_directory: The same as Horovod does it: `rank.N/stdout` and `rank.N/stderr`.
        with_time: Whether each line begins with the time.
        num_ranks: Number of ranks, for the width of their numbers in names.
    """

    def __init__(
        self,
        *,
        directory: Path | None = None,
        upstream_directory: Path | None = None,
        with_time: bool = False,
        num_ranks: int = 1,
    ) -> None:
        self._lock = threading.Lock()
        self._directory = directory
        self._upstream_directory = upstream_directory
        self._with_time = with_time
        self._width = len(str(num_ranks - 1))
        self._num_error_lines = 0
        self._last_errors: dict[int, tuple[int, str]] = {}

    def copy(self, descriptor: int, rank: int, name: str) -> None:
        """Copies what a rank writes until it ends.

        Args:
            descriptor: The pipe to read.
            rank: Number of the rank.
            name: `stdout` or `stderr`.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        files = self._open_files(rank, name)
        rest = ""
        try:
            while True:
                read = _read(descriptor)
                # \r ends the lines of progress bars.
                *lines, rest = re.split("(?<=[\r\n])", rest + decoder.decode(read, final=not read))
                for line in lines:
                    self._write(line, rank, name, files)
                if not read:
                    break
            if rest:
                self._write(rest, rank, name, files)
        finally:
            for file in files:
                file.close()

    def copy_labelled(self, descriptor: int, name: str, note: Callable[[str], None]) -> None:
        """Copies what several ranks write, each line after `N: `, as `srun --label` has it.

        Args:
            descriptor: The pipe to read.
            name: `stdout` or `stderr`.
            note: Called with every line that is of no rank.
        """
        files: dict[int, Sequence[TextIO]] = {}
        with os.fdopen(
            os.dup(descriptor), encoding="utf-8", errors="replace", newline="\n"
        ) as lines:
            for line in lines:
                label = _LABEL.match(line)
                if label is None:
                    note(line)
                    with self._lock, contextlib.suppress(BrokenPipeError):
                        sys.stderr.write(line)
                        sys.stderr.flush()
                    continue
                rank = int(label[1])
                if rank not in files:
                    files[rank] = self._open_files(rank, name)
                self._write(line[label.end() :], rank, name, files[rank])
        for file in [file for opened in files.values() for file in opened]:
            file.close()

    def last_error(self, rank: int) -> str:
        """Returns the last line with an error of a rank if much was written after it, or ''."""
        number, line = self._last_errors.get(rank, (0, ""))
        return line if self._num_error_lines - number > _MAX_LINES_AFTER_ERROR else ""

    def _open_files(self, rank: int, name: str) -> Sequence[TextIO]:
        number = str(rank).zfill(self._width)
        paths = []
        if self._directory is not None:
            paths.append(self._directory / f"rank-{number}.txt")
        if self._upstream_directory is not None:
            paths.append(self._upstream_directory / f"rank.{number}" / name)
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        return [path.open("a", encoding="utf-8", newline="") for path in paths]

    def _write(self, line: str, rank: int, name: str, files: Sequence[TextIO]) -> None:
        stream = sys.stdout if name == "stdout" else sys.stderr
        moment = time.asctime() if self._with_time else ""
        with self._lock:
            # If nobody reads our output any more (`| head`), the ranks must not wait for it.
            with contextlib.suppress(BrokenPipeError):
                stream.write(f"{moment}[{rank}]<{name}>:{line}")
                stream.flush()
            if name == "stderr":
                self._note_error(line, rank)
        for file in files:
            file.write(line)
            file.flush()

    def _note_error(self, line: str, rank: int) -> None:
        self._num_error_lines += 1
        if "error" in line.lower():
            text = _PREFIX.sub("", line).strip()[:_MAX_ERROR_LENGTH]
            self._last_errors[rank] = self._num_error_lines, text


def _read(descriptor: int) -> bytes:
    """Reads what there is; nothing is left if the other end was closed."""
    try:
        return os.read(descriptor, _READ_BYTES)
    except OSError:
        return b""
