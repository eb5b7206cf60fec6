"""Looks at a model file before Keras loads it, since loading a crafted one can take all memory."""

from __future__ import annotations

import errno
import zipfile
from pathlib import Path

from hvd_imgcls.files.outside import MIB, UnsuitableFileError, open_regular, require_regular

MAX_EXPANSION = 10
"""Most bytes that a byte of a `.keras` file may expand to. Keras does not compress; weights
compressed by another program expand to less than twice their size."""

MAX_CONFIG_BYTES = 64 * MIB
"""Largest description of layers in a `.keras` file, in bytes: that of a large model takes 1 MiB."""

_ALWAYS_ALLOWED_BYTES = 64 * MIB


def require_sound_model(path: Path) -> None:
    """Raises an error for a model or weights file that must not be loaded.

    Other files than archives are only required to be regular: Keras says what they lack.

    Args:
        path: A `.keras`, `.h5` or `.weights.h5` file.

    Raises:
        OSError: If it cannot be read or is no regular file, or an archive that would expand to
            many times its size.
        zipfile.BadZipFile: If it is a damaged archive.
    """
    require_regular(path)
    if path.suffix != ".keras":
        return
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    on_disk = path.stat().st_size
    total = sum(sizes.values())
    if total > max(_ALWAYS_ALLOWED_BYTES, MAX_EXPANSION * on_disk):
        raise UnsuitableFileError(
            errno.EFBIG,
            f"{on_disk:,} bytes that expand to {total:,}, more than {MAX_EXPANSION} times as many",
            path,
        )
    for name, size in sizes.items():
        if name.endswith(".json") and size > MAX_CONFIG_BYTES:
            reason = f"{name} in it has {size:,} bytes, more than the {MAX_CONFIG_BYTES:,} allowed"
            raise UnsuitableFileError(errno.EFBIG, reason, path)
