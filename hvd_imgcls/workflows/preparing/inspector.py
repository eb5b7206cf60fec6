"""Inspects files in a child process, which a crafted file may crash.

The child, `python -m hvd_imgcls.workflows.preparing.inspector MAX_PIXELS`, reads one path per
line and answers each with one line of JSON. Paths are JSON strings in which bytes that are not
valid text are escaped.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

# Longer than any image takes; a decoder may also loop forever.
DEFAULT_SECONDS_PER_FILE = 60.0
_START_SECONDS = 120.0


class Inspector:
    """A child process that inspects files, restarted when it dies.

    Args:
        max_pixels: Larger images are rejected by their header.
        seconds_per_file: Files that take longer are reported as bad.
    """

    def __init__(self, max_pixels: int, seconds_per_file: float = DEFAULT_SECONDS_PER_FILE) -> None:
        self._max_pixels = max_pixels
        self._seconds_per_file = seconds_per_file
        self._child: subprocess.Popen[bytes] | None = None

    def inspect(self, path: Path) -> dict[str, Any]:
        """Returns the facts about a file like `Facts.to_json`, even if the child crashes."""
        child = self._child or self._start()
        try:
            _write(child, json.dumps(os.fspath(path)))
            answer = _read(child, self._seconds_per_file)
        except (BrokenPipeError, EOFError):
            return self._blame(_how_it_ended(child))
        except TimeoutError:
            return self._blame(f"the decoder did not finish within {self._seconds_per_file:g} s")
        facts: dict[str, Any] = json.loads(answer)
        return facts

    def close(self) -> None:
        """Terminates the child."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for stream in (self._child.stdin, self._child.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        self._child = None

    def _start(self) -> subprocess.Popen[bytes]:
        self._child = subprocess.Popen(
            [sys.executable, "-m", __name__, str(self._max_pixels)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        )
        _read(self._child, _START_SECONDS)
        return self._child

    def _blame(self, problem: str) -> dict[str, Any]:
        self.close()
        return {"problem": problem}


def _how_it_ended(child: subprocess.Popen[bytes]) -> str:
    code = child.wait()
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"the decoder crashed ({name})"


def _write(child: subprocess.Popen[bytes], line: str) -> None:
    requests: Any = child.stdin
    requests.write(line.encode("ascii") + b"\n")
    requests.flush()


def _read(child: subprocess.Popen[bytes], seconds: float) -> bytes:
    answers: Any = child.stdout
    ready, _, _ = select.select([answers], [], [], seconds)
    if not ready:
        raise TimeoutError
    line: bytes = answers.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return line


def main() -> None:
    """Answers paths with facts until the input ends."""
    from hvd_imgcls.workflows.preparing.inspection import inspect_file

    # Output of libraries must not be mixed with the answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    answers.write(b"ready\n")
    for line in sys.stdin.buffer:
        facts = inspect_file(Path(json.loads(line)), int(sys.argv[1]))
        answers.write(json.dumps(facts.to_json()).encode("ascii") + b"\n")


if __name__ == "__main__":
    main()
