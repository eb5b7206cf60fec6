"""Reads `nodes.jsonl`, of which a long run on many hosts has millions of lines."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from hvd_imgcls.files.json_files import parse_json
from hvd_imgcls.files.outside import MAX_LIST_BYTES, MIB, open_regular, require_regular

MOST_WINDOWS = 1000
"""At most twice as many windows are kept, evenly spaced."""

Window = list[dict[str, Any]]


def read_windows(path: Path) -> list[Window]:
    """Returns the lines of evenly spaced windows: all windows of a run that is not long.

    Args:
        path: The file.

    Returns:
        For each window a line for each host, the oldest first; nothing if there is no file.

    Raises:
        OSError: If the file cannot be read, or is larger than 1 GiB.
        ValueError: If it is damaged.
    """
    kept: list[list[bytes]] = []
    stride = 1
    for index, lines in enumerate(_windows(path) if os.path.lexists(path) else ()):
        if index % stride == 0:
            kept.append(lines)
        if len(kept) > 2 * MOST_WINDOWS:
            kept = kept[::2]
            stride *= 2
    return [[_parsed(line) for line in lines] for lines in kept]


def _windows(path: Path) -> Iterator[list[bytes]]:
    """Yields the lines of each window, which are the same up to the host.

    They are not parsed: that would take a minute for the millions of lines of a long run.
    """
    window: list[bytes] = []
    moment = b""
    for line in _lines(path):
        of_line = line.partition(b'"host"')[0]
        if window and of_line != moment:
            yield window
            window = []
        window.append(line)
        moment = of_line
    if window:
        yield window


def _parsed(line: bytes) -> dict[str, Any]:
    value = parse_json(line)
    if not isinstance(value, dict):
        raise ValueError(f"{type(value).__name__}, not an object")
    return value


def _lines(path: Path) -> Iterator[bytes]:
    require_regular(path, MAX_LIST_BYTES)
    with (
        open_regular(path, MAX_LIST_BYTES) as raw,
        io.BufferedReader(cast(io.RawIOBase, raw), MIB) as file,
    ):
        # The last line may be half a line of a process that was killed.
        while (line := file.readline(MIB)).endswith(b"\n"):
            if line.strip():
                yield line
    if len(line) == MIB:
        raise ValueError("a line of more than 1 MiB")
