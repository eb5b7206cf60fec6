"""Records every launch of a run: command, machines, versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import shlex
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hvd_imgcls.environment.processor import processor_name
from hvd_imgcls.versions import code_version

_DISTRIBUTIONS = ("tensorflow", "keras", "horovod", "numpy")


def host_name() -> str:
    """Returns the name of this machine."""
    return socket.gethostname()


def describe_launch(hosts: Sequence[str], fingerprint: str) -> dict[str, Any]:
    """Describes a launch, as JSON.

    Args:
        hosts: Host name of every rank, by rank.
        fingerprint: Hash of the data.
    """
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": _command(),
        "size": len(hosts),
        "ranks_by_host": dict(Counter(hosts)),
        "data_fingerprint": fingerprint,
        "versions": {
            "hvd_imgcls": code_version(),
            "python": platform.python_version(),
            **{name: _version(name) for name in _DISTRIBUTIONS},
        },
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor_name(),
    }


def _command() -> str:
    """Returns the command line, with the program's name instead of its path."""
    path = Path(sys.argv[0])
    program = "hvd-imgcls" if path.name == "__main__.py" else path.name
    return shlex.join([program, *sys.argv[1:]])


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
