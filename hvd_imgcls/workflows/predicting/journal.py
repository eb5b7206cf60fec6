"""What has been predicted so far, on disk, so that a run that was killed goes on from there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.workflows.predicting.work_queue import Rows


class Journal:
    """The finished pieces of a prediction, a line of JSON for each.

    Args:
        path: The file.
        job: What is predicted, JSON: it must be the same when the file is there already.

    Raises:
        ConfigError: If the file is of another job.
    """

    def __init__(self, path: Path, job: dict[str, Any]) -> None:
        self._path = path
        self.rows: dict[int, Rows] = {}
        """Rows of every finished piece."""
        self.ranks: dict[int, int] = {}
        """Who has done it, of this launch or an earlier one."""
        length = self._read(job)
        self._file = path.open("ab")
        self._file.truncate(length)
        if not length:
            self._append(job)

    def keep(self, piece: int, rank: int, rows: Rows) -> None:
        """Adds a finished piece; it is on disk when this returns."""
        self._append({"piece": piece, "rank": rank, "rows": rows})
        self._note(piece, rank, rows)

    def close(self) -> None:
        """Leaves the file for another launch."""
        self._file.close()

    def remove(self) -> None:
        """Removes the file: everything is written elsewhere."""
        self.close()
        self._path.unlink()

    def _read(self, job: dict[str, Any]) -> int:
        """Reads what is there; returns how many bytes of it are whole lines."""
        if not self._path.exists():
            return 0
        length = 0
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break  # The last line of a run that was killed.
                value = json.loads(line)
                if length == 0:
                    self._require_same(value, job)
                else:
                    self._note(value["piece"], value["rank"], value["rows"])
                length += len(line)
        return length

    def _require_same(self, before: dict[str, Any], job: dict[str, Any]) -> None:
        differing = [name for name in job if before.get(name) != job[name]]
        if differing:
            raise ConfigError(
                "--out",
                got=f"{self._path}, which an earlier prediction has left, of other "
                f"{', '.join(differing)}",
                expected="one of the same images, model and options",
                fix="remove that file, or give another --out",
            )

    def _note(self, piece: int, rank: int, rows: Rows) -> None:
        self.rows[piece], self.ranks[piece] = rows, rank

    def _append(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value, ensure_ascii=True).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
