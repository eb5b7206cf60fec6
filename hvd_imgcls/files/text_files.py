"""Reads text files that users give."""

from __future__ import annotations

from pathlib import Path

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.files.outside import MAX_LIST_BYTES, read_bytes


def read_lines(key: str, path: Path, holds: str, *, any_bytes: bool = False) -> list[str]:
    """Returns the lines of a UTF-8 text file, without a byte order mark and without CR LF.

    Args:
        key: The option or configuration key that names the file, for error messages.
        path: The file.
        holds: What each line contains, for error messages.
        any_bytes: Whether to keep bytes that are not UTF-8, as Python does in paths.

    Raises:
        ConfigError: If the file cannot be read.
    """
    try:
        content = read_bytes(path.expanduser(), MAX_LIST_BYTES)
        return lines_of(content, any_bytes=any_bytes)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigError(
            key,
            got=f"{path} ({reason})",
            expected=f"a text file (UTF-8) with {holds} on each line",
            fix="correct it",
        ) from error


def lines_of(content: bytes, *, any_bytes: bool = False) -> list[str]:
    """Returns the lines of a UTF-8 text, without a byte order mark and without CR LF.

    Args:
        content: The text.
        any_bytes: Whether to keep bytes that are not UTF-8, as Python does in paths.

    Raises:
        UnicodeDecodeError: If the text is not UTF-8.
    """
    text = content.decode("utf-8-sig", "surrogateescape" if any_bytes else "strict")
    # Not `splitlines`: a path may contain characters that it treats as line breaks.
    return [line.removesuffix("\r") for line in text.split("\n")]
