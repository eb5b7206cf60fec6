"""Settings of `bench input`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Measured by default.
OWN_ROWS = ("a", "b", "c", "d", "e", "f", "g", "h")
# Rows that need another Python environment.
OTHER_ROWS = ("i", "j")
ROWS = (*OWN_ROWS, *OTHER_ROWS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Command-line settings.

    Attributes:
        pairs: Measured turns of every arm.
        only: Rows to measure.
        data: Folder with JPEG files; synthetic photographs when None.
        cifar: Folder with CIFAR-10 in class folders; random pixels in memory when None.
        torch_python: Interpreter of an environment with torchvision; it is installed into the
            cache when None.
        ffcv_python: Interpreter of an environment with FFCV.
    """

    pairs: int
    only: Sequence[str] = OWN_ROWS
    data: Path | None = None
    cifar: Path | None = None
    torch_python: Path | None = None
    ffcv_python: Path | None = None

    @property
    def picture_data(self) -> Path | None:
        """The folder with JPEG files, without `~`."""
        return self.data.expanduser() if self.data else None
