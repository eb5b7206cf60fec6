"""JSON files that end with a digest of themselves."""

from __future__ import annotations

import hashlib
from typing import Any

from hvd_imgcls.files.json_files import parse_json, to_json

_END = "\n}"


def seal(value: dict[str, Any]) -> bytes:
    """Returns a JSON file with the values and, as the last one, `sha256`.

    It is the SHA-256 of all bytes before its line.

    Args:
        value: The values, strict JSON; not empty.
    """
    body = (to_json(value).removesuffix(_END) + ",\n").encode()
    return body + _last_line(body)


def unseal(content: bytes) -> dict[str, Any]:
    """Returns the values in a file that `seal` returned.

    Raises:
        ValueError: If it has changed since.
    """
    start = len(content) - len(_last_line(b""))
    body = content[: max(0, start)]
    if content[len(body) :] != _last_line(body):
        raise ValueError("its SHA-256 is not the one in its last line")
    value = parse_json(content)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _last_line(body: bytes) -> bytes:
    return f'  "sha256": "{hashlib.sha256(body).hexdigest()}"{_END}\n'.encode()
