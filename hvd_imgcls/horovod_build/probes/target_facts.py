"""Prints, as JSON, what Horovod's build needs to know about the Python that runs this.

With the argument `tensorflow` it imports TensorFlow, which takes seconds, and adds the flags
that extensions must be compiled with. It uses only the standard library and nothing newer than
Python 3.8, so that an unsupported Python can still report its version.
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
import sysconfig
from importlib import metadata
from typing import Any


def version_of(distribution: str) -> str | None:
    """Returns the installed version of a distribution, None when it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def nvidia_dir() -> str | None:
    """Returns where the distributions of CUDA put their files, None when there is none."""
    try:
        distribution = metadata.distribution("nvidia-cuda-runtime-cu12")
    except metadata.PackageNotFoundError:
        return None
    return str(distribution.locate_file("nvidia"))


def horovod_build_record() -> Any:
    """Returns the record that our build leaves in the wheel, None without one."""
    try:
        path = metadata.distribution("horovod").locate_file("horovod/hvd_imgcls_build.json")
        with open(str(path), encoding="utf-8") as file:
            return json.load(file)
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return None


def main() -> None:
    """Prints the facts as the last line, since TensorFlow may print other lines first."""
    facts: dict[str, Any] = {
        "version": list(sys.version_info[:3]),
        "implementation": sys.implementation.name,
        "abi": str(sysconfig.get_config_var("SOABI")),
        "platform": sysconfig.get_platform(),
        "libc": " ".join(platform.libc_ver()),
        "distributions": {name: version_of(name) for name in sys.argv[2:]},
        "horovod_build_record": horovod_build_record(),
        "nvidia_dir": nvidia_dir(),
    }
    if sys.argv[1] == "tensorflow":
        tensorflow = importlib.import_module("tensorflow")
        facts["tensorflow_flags"] = [
            flag for flag in tensorflow.sysconfig.get_compile_flags() if not flag.startswith("-I")
        ]
    print("\n" + json.dumps(facts))  # noqa: T201 (the parent reads it from standard output)


if __name__ == "__main__":
    main()
