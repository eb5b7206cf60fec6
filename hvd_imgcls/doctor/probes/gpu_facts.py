"""Prints, as JSON, the GPUs that the NVIDIA driver sees and those that TensorFlow sees.

The driver is asked through its own library, so that its answer does not depend on TensorFlow.
TensorFlow, which takes seconds to import, is asked if the driver sees a GPU, or with the argument
`always`.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import sys
from typing import Any

_LIBRARY = "libcuda.so.1"


def driver_facts() -> dict[str, Any]:
    """Returns version, number of devices and names, or the error."""
    try:
        cuda = ctypes.CDLL(_LIBRARY)
    except OSError:
        return {"error": "no library"}
    code = cuda.cuInit(0)
    if code != 0:
        return {"error": f"cuInit returned {code}"}
    version, count = ctypes.c_int(), ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    cuda.cuDeviceGetCount(ctypes.byref(count))
    names = []
    for index in range(count.value):
        device, name = ctypes.c_int(), ctypes.create_string_buffer(100)
        cuda.cuDeviceGet(ctypes.byref(device), index)
        cuda.cuDeviceGetName(name, len(name), device)
        names.append(name.value.decode(errors="replace"))
    major, minor = version.value // 1000, version.value % 1000 // 10
    return {"error": "", "cuda_version": f"{major}.{minor}", "names": names}


def tensorflow_facts() -> dict[str, Any]:
    """Returns whether TensorFlow is built with CUDA, and the GPUs that it sees."""
    tensorflow = importlib.import_module("tensorflow")
    return {
        "is_cuda_build": bool(tensorflow.test.is_built_with_cuda()),
        "num_gpus": len(tensorflow.config.list_physical_devices("GPU")),
    }


def main() -> None:
    """Prints the facts as the last line, since TensorFlow may print other lines first."""
    facts: dict[str, Any] = {
        "visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "driver": driver_facts(),
    }
    if facts["driver"].get("names") or sys.argv[1:] == ["always"]:
        facts["tensorflow"] = tensorflow_facts()
    print("\n" + json.dumps(facts))  # noqa: T201 (the parent reads it from standard output)


if __name__ == "__main__":
    main()
