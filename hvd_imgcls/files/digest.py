"""Hashes of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hvd_imgcls.files.outside import open_regular

_PIECE = 2**20


def digest(path: Path) -> str:
    """Returns 16 hexadecimal digits of the SHA-256 of a file, read in pieces.

    Raises:
        OSError: If it cannot be read, or is no regular file.
    """
    with open_regular(path) as file:
        hasher = hashlib.sha256()
        while piece := file.read(_PIECE):
            hasher.update(piece)
        return hasher.hexdigest()[:16]
