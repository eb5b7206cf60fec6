"""Compares images by a sample of their contents: names and labels alone say little."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xxhash

from hvd_imgcls.files.outside import KIB, open_regular

NUM_SAMPLED = 64
"""Files that are read, spread evenly."""

_BYTES_SAMPLED = 64 * KIB


def sample_of_files(paths: Sequence[Path]) -> str:
    """Returns a hash of the sizes and the first 64 KiB of some of the files.

    Files that cannot be read count as such, with their error.

    Args:
        paths: The files, in the same order wherever they lie.
    """
    hasher = xxhash.xxh3_64()
    chosen = np.unique(np.linspace(0, len(paths) - 1, NUM_SAMPLED).astype(int)) if paths else ()
    for index in chosen:
        try:
            with open_regular(paths[index]) as file:
                hasher.update(file.read(_BYTES_SAMPLED) or b"")
                hasher.update(str(file.seek(0, 2)).encode())
        except OSError as error:
            hasher.update(f"error {error.errno}".encode())
    return hasher.hexdigest()
