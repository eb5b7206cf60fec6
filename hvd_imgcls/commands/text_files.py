"""Text files that a command line names."""

from __future__ import annotations

from pathlib import Path

from hvd_imgcls.errors import ConfigError


def read_lines(option: str, path: Path, holds: str, *, any_bytes: bool = False) -> list[str]:
    """Returns the lines of a text file, UTF-8.

    Args:
        option: Which option named it.
        path: The file.
        holds: What is in each line.
        any_bytes: Whether bytes that are not UTF-8 are kept, as Python keeps them in paths.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        text = path.read_text("utf-8-sig", "surrogateescape" if any_bytes else "strict")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            option,
            got=f"{path} ({error})",
            expected=f"a text file (UTF-8) with {holds} in each line",
            fix="correct it",
        ) from error
    # No `splitlines`: a path may hold what that takes for the end of a line.
    return text.split("\n")
