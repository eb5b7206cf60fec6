"""The version of the code, including a hash that distinguishes checkouts."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import hvd_imgcls


@functools.cache
def code_version() -> str:
    """Returns the version and a hash of the package's Python files, e.g. `0.1.0+1f3a...`.

    It differs between ranks that run different checkouts of one version.
    """
    package = Path(hvd_imgcls.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return f"{hvd_imgcls.__version__}+{digest.hexdigest()[:12]}"
