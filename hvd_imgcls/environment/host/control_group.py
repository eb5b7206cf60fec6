"""How much memory the control group of this process may use, and uses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROCESS = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """Memory of a control group.

    Attributes:
        total: Bytes that it may use.
        used: Bytes that it uses, without caches that the kernel frees when memory is short.
    """

    total: int
    used: int


def memory_limit(root: Path = _ROOT, process: Path = _PROCESS) -> MemoryLimit | None:
    """Returns the limit that is reached first, of the group of this process or one around it.

    Control groups of version 2 only, which all distributions have used since 2021.

    Args:
        root: Where they are mounted.
        process: The file that says which group a process is in.

    Returns:
        None if there is no limit.
    """
    limits = []
    for folder in _groups(root, process):
        with contextlib.suppress(OSError, ValueError):
            total = (folder / "memory.max").read_text("ascii").strip()
            if total != "max":
                current = int((folder / "memory.current").read_text("ascii"))
                limits.append(MemoryLimit(int(total), max(0, current - _file_cache(folder))))
    return min(limits, key=lambda limit: limit.total - limit.used, default=None)


def _groups(root: Path, process: Path) -> Iterator[Path]:
    """Yields the directory of the group and of those around it."""
    path = ""
    with contextlib.suppress(OSError):
        for line in process.read_text("utf-8", "replace").splitlines():
            if line.startswith("0::"):
                path = line.removeprefix("0::")
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for length in range(len(parts), -1, -1):
        yield root.joinpath(*parts[:length])


def _file_cache(folder: Path) -> int:
    for line in (folder / "memory.stat").read_text("ascii").splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            return int(value)
    return 0
