"""Journal of the finished pieces of a prediction, so that a killed one can be resumed."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from hvd_imgcls.errors import ConfigError, first_line
from hvd_imgcls.files.json_files import parse_json
from hvd_imgcls.files.outside import MIB, open_regular, open_to_append
from hvd_imgcls.workflows.predicting.work_queue import Rows

# A piece of a thousand images with a thousand classes each takes 40 MiB.
_MAX_LINE_BYTES = 256 * MIB


class Journal:
    """The finished pieces of a prediction, one line of JSON each.

    Args:
        path: The file; None keeps the journal in memory only.
        job: What is predicted, as JSON; must equal that of an existing file.

    Raises:
        ConfigError: If the file belongs to a different job, is damaged, or cannot be written.
    """

    def __init__(self, path: Path | None, job: dict[str, Any]) -> None:
        self._path = path
        self.rows: dict[int, Rows] = {}
        """Rows of every finished piece."""
        self.ranks: dict[int, int] = {}
        """Rank that finished each piece, in this launch or an earlier one."""
        self._file: BinaryIO | None = None
        if path is not None:
            self._open(path, job)

    def _open(self, path: Path, job: dict[str, Any]) -> None:
        length = self._read(path, job)
        try:
            self._file = open_to_append(path)
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error
        self._file.truncate(length)
        if not length:
            self._append(job)

    def keep(self, piece: int, rank: int, rows: Rows) -> None:
        """Appends a finished piece; it is synced to disk when this returns."""
        self._append({"piece": piece, "rank": rank, "rows": rows})
        self._note(piece, rank, rows)

    def close(self) -> None:
        """Closes the file and keeps it for a later launch."""
        if self._file is not None:
            self._file.close()

    def remove(self) -> None:
        """Deletes the file, once everything is written elsewhere."""
        self.close()
        if self._path is not None:
            self._path.unlink()

    def _read(self, path: Path, job: dict[str, Any]) -> int:
        """Reads the existing file; returns the number of bytes in complete lines."""
        if not os.path.lexists(path):
            return 0
        length = 0
        try:
            with io.BufferedReader(open_regular(path)) as file:  # type: ignore[type-var]
                while line := file.readline(_MAX_LINE_BYTES):
                    if len(line) == _MAX_LINE_BYTES:
                        raise ValueError(f"a line of at least {_MAX_LINE_BYTES:,} bytes")
                    if not line.endswith(b"\n"):
                        break  # The last line of a killed run may be incomplete.
                    value = parse_json(line)
                    if length == 0:
                        self._require_same(value, job)
                    else:
                        self._note(int(value["piece"]), int(value["rank"]), list(value["rows"]))
                    length += len(line)
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._unusable(f"damaged: {first_line(error)}") from error
        return length

    def _unusable(self, reason: str) -> ConfigError:
        return ConfigError(
            "--out",
            got=f"{self._path}, the journal of a prediction ({reason})",
            expected="a regular file that `predict` has written, or none",
            fix="delete that file, or choose another --out",
        )

    def _require_same(self, before: dict[str, Any], job: dict[str, Any]) -> None:
        differing = [name for name in job if before.get(name) != job[name]]
        if differing:
            raise ConfigError(
                "--out",
                got=f"{self._path}, the journal of a prediction with other {', '.join(differing)}",
                expected="one of the same images, model and options",
                fix="delete that file, or choose another --out",
            )

    def _note(self, piece: int, rank: int, rows: Rows) -> None:
        self.rows[piece], self.ranks[piece] = rows, rank

    def _append(self, value: dict[str, Any]) -> None:
        if self._file is None:
            return
        self._file.write(json.dumps(value, ensure_ascii=True).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
