"""What a host says about itself, as JSON: the program that the doctor runs there over ssh.

python -m hvd_imgcls.doctor.hosts.facts DIRECTORY TOKEN OTHER_ADDRESS
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("hvd_imgcls", "horovod", "tensorflow", "keras", "numpy")
_GPU_SECONDS = 10
# A UDP socket only chooses a route with it; nothing is sent.
_ANY_PORT = 9


def facts(directory: Path, token: str, other_address: str) -> dict[str, Any]:
    """Returns what matters for a run on this host.

    Args:
        directory: The working directory of the run.
        token: Name of a file that the doctor has written there.
        other_address: Address of another host, to which the run's network leads.
    """
    exists = directory.is_dir()
    return {
        "time": time.time(),
        "hostname": socket.gethostname(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "horovod_build": _horovod_build(),
        "code": code_hash(),
        "has_directory": exists,
        "sees_token": exists and (directory / token).exists(),
        "free_bytes": shutil.disk_usage(directory).free if exists else 0,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": _gpus(),
        "network": _network_towards(other_address),
    }


def code_hash() -> str:
    """Returns a hash of the source files of this package, which must be equal on all hosts."""
    package = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _horovod_build() -> str | None:
    """Returns the key of our build, without importing Horovod."""
    try:
        files = metadata.distribution("horovod")
    except metadata.PackageNotFoundError:
        return None
    path = Path(str(files.locate_file("horovod/hvd_imgcls_build.json")))
    try:
        key: str | None = json.loads(path.read_text(encoding="utf-8")).get("key")
    except (OSError, ValueError):
        return None
    return key


def _gpus() -> int:
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, timeout=_GPU_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    return len(done.stdout.splitlines())


def _network_towards(address: str) -> dict[str, str]:
    """Returns address and interface with which another host is reached."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, _ANY_PORT))
        except OSError as error:
            return {"problem": error.strerror or str(error)}
        own = probe.getsockname()[0]
    for interface, entries in psutil.net_if_addrs().items():
        if any(entry.address == own for entry in entries):
            return {"address": own, "interface": interface}
    return {"address": own, "interface": "?"}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(facts(Path(sys.argv[1]), sys.argv[2], sys.argv[3])) + "\n")
