"""What may lie at a path or stand in a value that somebody else has given."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
from pathlib import Path

ALIAS_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
CONTENTS = {
    "empty": b"",
    "noise": bytes(range(256)) * 16,
    "zero bytes": b"\0" * 1000,
    "not UTF-8": b"\xff\xfe\xfd\n",
    "a number of 20 digits": b"9" * 20,
    "a number of 5,000 digits": b"9" * 5000,
    "NaN": b"NaN",
    "1e999": b"[1e999]",
    "text": b'"text"',
    "a list": b"[1, 2]",
    "a list of lists": b'[["a"], ["b"]]',
    "an empty object": b"{}",
    "an object of null": b'{"class_names": null, "num_hosts": null, "format_version": null}',
    "nested deeply": b"[" * 100_000,
    "nested deeply in YAML": b"a: " + b"{a: " * 5_000,
    "alias bomb": ALIAS_BOMB.encode(),
    "escape sequences": b"\x1b]0;title\x07\x1b[2J\x1b[31m\n",
    "other line breaks": "a\x85b\u2028c\rd".encode(),
}
"""Contents of files, by what they are."""


def _socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        folder = os.open(path.parent, os.O_RDONLY)
        made.bind(f"/proc/self/fd/{folder}/{path.name}"[:107])
        os.close(folder)


def _sparse(path):
    with path.open("wb") as file:
        file.truncate(2**42)


SPECIAL = {
    "pipe": os.mkfifo,
    "link to a pipe": lambda path: (
        os.mkfifo(f"{path}.pipe"),
        path.symlink_to(f"{path}.pipe"),
    ),
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "empty device": lambda path: path.symlink_to("/dev/null"),
    "file of the kernel": lambda path: path.symlink_to("/proc/kmsg"),
    "socket": _socket,
    "folder": lambda path: path.mkdir(),
    "link to itself": lambda path: path.symlink_to(path.name),
    "broken link": lambda path: path.symlink_to("nowhere"),
    "4 TiB": _sparse,
}
"""Functions that create what is no file that can be read, by what it is."""

TEXTS = {
    "empty": "",
    "300 characters": "x" * 300,
    "5,000 characters": "x" * 5000,
    "20 digits": "9" * 20,
    "5,000 digits": "9" * 5000,
    "negative": "-1",
    "NaN": ".nan",
    "infinite": ".inf",
    "escape sequences": "\x1b]0;title\x07\x1b[2J",
    "line breaks": "a\nb\rc\x85d\u2028e",
    "not UTF-8": "\udcff\udcfe",
    "deep": "[" * 5_000,
    "alias bomb": "{" + ALIAS_BOMB.replace("\n", ", ") + "}",
}
"""Values of options, by what they are."""


def put(what: str, path: Path) -> None:
    """Creates a file of `CONTENTS` or `SPECIAL`."""
    if what in CONTENTS:
        path.write_bytes(CONTENTS[what])
    else:
        SPECIAL[what](path)


@contextlib.contextmanager
def at_once(seconds: float = 10, max_bytes: int = 2**30):
    """Fails if the block waits, or takes memory beyond what the process had taken before."""

    def stop(*_):
        raise AssertionError(f"still busy after {seconds} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2 * max_bytes, hard))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        resource.setrlimit(resource.RLIMIT_AS, old)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < max_bytes, f"took {grown:,} bytes"


def require_readable(message: str) -> None:
    """Fails for a message that is long, or says nothing."""
    assert message.strip()
    assert len(message) < 5_000, message[:500]
    assert "Traceback" not in message
