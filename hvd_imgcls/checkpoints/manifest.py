"""The manifest of a checkpoint: its files, with sizes and digests, and facts about it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvd_imgcls.checkpoints.disk import Disk
from hvd_imgcls.checkpoints.encoding import decode, encode
from hvd_imgcls.checkpoints.names import DATA_FILES, MANIFEST
from hvd_imgcls.checkpoints.problems import DamagedCheckpointError
from hvd_imgcls.checkpoints.reading_files import read_whole
from hvd_imgcls.checkpoints.sealed_json import seal, unseal
from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.files.outside import MAX_ENTIRE_BYTES, MIB

FORMAT, VERSION = "hvd_imgcls checkpoint", 1

MAX_MANIFEST_BYTES = 16 * MIB
"""Largest manifest and pointer, in bytes."""


@dataclass(frozen=True, slots=True)
class FileDigest:
    """What was written to a file.

    Attributes:
        bytes: Its size, in bytes.
        sha256: Its SHA-256, 64 hexadecimal digits.
    """

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of `manifest.json`.

    Attributes:
        step: Completed steps.
        created: When the checkpoint was written, with time zone.
        facts: Facts about the checkpoint, JSON; also NaN and infinity.
        files: The other files, by name.
    """

    step: int
    created: datetime.datetime
    facts: dict[str, Any]
    files: dict[str, FileDigest]

    def to_bytes(self) -> bytes:
        """Returns the content of the file.

        Raises:
            TypeError: If the facts are not JSON.
            ValueError: If they are nested too deeply, or too large.
        """
        files = {
            name: {"bytes": file.bytes, "sha256": file.sha256} for name, file in self.files.items()
        }
        content = seal(
            {
                "format": FORMAT,
                "version": VERSION,
                "step": self.step,
                "created": self.created.isoformat(),
                "facts": encode_facts(self.facts),
                "files": files,
            }
        )
        if len(content) > MAX_MANIFEST_BYTES:
            raise ValueError(
                f"facts of a checkpoint: {len(content):,} bytes, expected at most "
                f"{MAX_MANIFEST_BYTES:,}"
            )
        return content


def encode_facts(facts: dict[str, Any]) -> Any:
    """Returns facts as they are written.

    Args:
        facts: The facts, JSON; also NaN and infinity.

    Raises:
        TypeError: If they are not JSON.
        ValueError: If they are nested too deeply.
    """
    tree, arrays = encode(facts)
    if arrays:
        raise TypeError("facts of a checkpoint: got an array, expected JSON")
    return tree


def read_manifest(directory: Path, step: int, disk: Disk) -> Manifest:
    """Reads the manifest of a checkpoint.

    Args:
        directory: The directory of the checkpoint.
        step: The step in its name.
        disk: The file system.

    Raises:
        CheckpointError: If it is missing, damaged, of another version, or cannot be read.
    """
    path = directory / MANIFEST
    content = read_whole(path, MAX_MANIFEST_BYTES, disk)
    try:
        values = unseal(content)
        _require_version(values, path)
        manifest = _parse(values)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedCheckpointError(path, f"damaged: {error}") from error
    if manifest.step != step:
        raise DamagedCheckpointError(path, f"of step {str(manifest.step)[:20]}, expected {step}")
    return manifest


def _require_version(values: dict[str, Any], path: Path) -> None:
    got = (values.get("format"), values.get("version"))
    if got != (FORMAT, VERSION):
        raise CheckpointError(
            f"{path}: got format {got[0]!r}, version {got[1]!r}, expected {FORMAT!r}, version "
            f"{VERSION}; continue with the version of hvd_imgcls that wrote it"
        )


def _parse(values: dict[str, Any]) -> Manifest:
    files = values["files"]
    if type(values["step"]) is not int or set(files) != set(DATA_FILES):
        raise ValueError(f"expected a step and the files {', '.join(DATA_FILES)}")
    facts = decode(values["facts"], [])
    created = datetime.datetime.fromisoformat(values["created"])
    if not isinstance(facts, dict) or created.tzinfo is None:
        raise ValueError("expected facts and a time with its zone")
    return Manifest(
        values["step"], created, facts, {name: _parse_file(files[name]) for name in DATA_FILES}
    )


def _parse_file(values: dict[str, Any]) -> FileDigest:
    size, digest = values["bytes"], values["sha256"]
    if type(size) is not int or not 0 <= size <= MAX_ENTIRE_BYTES or not isinstance(digest, str):
        raise ValueError("expected the size and the SHA-256 of every file")
    return FileDigest(size, digest)
