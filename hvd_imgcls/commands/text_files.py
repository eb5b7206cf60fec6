"""Reads text files given on the command line."""

from __future__ import annotations

from pathlib import Path

from hvd_imgcls.errors import ConfigError


def read_lines(option: str, path: Path, holds: str, *, any_bytes: bool = False) -> list[str]:
    """Returns the lines of a UTF-8 text file.

    Args:
        option: The option that names the file.
        path: The file.
        holds: What each line contains, for error messages.
        any_bytes: Whether to keep bytes that are not UTF-8, as Python does in paths.

    Raises:
        ConfigError: If the file cannot be read.
    """
    try:
        text = path.read_text("utf-8-sig", "surrogateescape" if any_bytes else "strict")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            option,
            got=f"{path} ({error})",
            expected=f"a text file (UTF-8) with {holds} on each line",
            fix="correct it",
        ) from error
    # Not `splitlines`: a path may contain characters that it treats as line breaks.
    return text.split("\n")
