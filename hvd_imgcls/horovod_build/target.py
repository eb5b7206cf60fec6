"""The Python that Horovod is built for."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvd_imgcls.errors import SetupError

# TensorFlow 2.21 has wheels for 3.10 to 3.13, Keras 3.15.1 needs at least 3.11.
SUPPORTED_PYTHONS = ((3, 11), (3, 12), (3, 13))

# Horovod's own `install_requires`, except those of PyTorch.
RUN_TIME_DISTRIBUTIONS = ("cloudpickle", "packaging", "psutil", "PyYAML")
# What a build with NCCL uses of TensorFlow's extra and-cuda.
CUDA_DISTRIBUTIONS = (
    "nvidia-cuda-runtime-cu12",
    "nvidia-cuda-nvrtc-cu12",
    "nvidia-cuda-nvcc-cu12",
    "nvidia-nccl-cu12",
)
_DISTRIBUTIONS = (
    *("pip", "tensorflow", "keras", "numpy", "horovod", "hvd_imgcls"),
    *RUN_TIME_DISTRIBUTIONS,
    *CUDA_DISTRIBUTIONS,
)

# Importing TensorFlow takes about 5 s, but minutes from a cold network file system.
_PROBE_TIMEOUT_SECONDS = 300

_PROBES_DIR = Path(__file__).parent / "probes"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A Python interpreter and what is installed in it.

    Attributes:
        python: Path of the interpreter, as it was given.
        version: Major, minor and micro.
        abi: Python's own name of its ABI, e.g. `cpython-311-x86_64-linux-gnu`.
        platform: E.g. `linux-x86_64`.
        libc: Name and version of the C library.
        distributions: Distribution to installed version, None for what is missing.
        horovod_build_record: What our build wrote into the installed Horovod, if it did.
        nvidia_dir: Its `site-packages/nvidia`, where pip installs CUDA, None without CUDA.
        tensorflow_flags: Flags that extensions of the installed TensorFlow are compiled
            with, without include directories. Empty unless they were asked for.
    """

    python: str
    version: tuple[int, int, int]
    abi: str
    platform: str
    libc: str
    distributions: dict[str, str | None]
    horovod_build_record: dict[str, Any] | None
    nvidia_dir: str | None = None
    tensorflow_flags: tuple[str, ...] = ()

    @property
    def version_text(self) -> str:
        """The version of Python, e.g. `3.11.7`."""
        return ".".join(str(part) for part in self.version)


def inspect_target(python: str, *, with_tensorflow: bool = False) -> Target:
    """Returns the facts about an interpreter and what is installed in it.

    Args:
        python: Path of the interpreter.
        with_tensorflow: Import TensorFlow there as well, which takes seconds.

    Raises:
        SetupError: If it does not run, is not supported, or TensorFlow cannot be imported.
    """
    facts = _ask(python, ["tensorflow" if with_tensorflow else "-", *_DISTRIBUTIONS])
    major, minor, micro = facts["version"]
    if (major, minor) not in SUPPORTED_PYTHONS or facts["implementation"] != "cpython":
        raise SetupError(
            f"{python} is {facts['implementation']} {major}.{minor}.{micro}; supported are "
            f"CPython {describe_supported()}",
            fix="choose another one with --python (PYTHON=... for make), e.g. --python python3.13",
        )
    return Target(
        python=python,
        version=(major, minor, micro),
        abi=facts["abi"],
        platform=facts["platform"],
        libc=facts["libc"],
        distributions=facts["distributions"],
        horovod_build_record=facts["horovod_build_record"],
        nvidia_dir=facts["nvidia_dir"],
        tensorflow_flags=tuple(facts.get("tensorflow_flags", ())),
    )


def describe_supported() -> str:
    """Returns the supported versions of Python as text."""
    names = [f"{major}.{minor}" for major, minor in SUPPORTED_PYTHONS]
    return ", ".join(names[:-1]) + " and " + names[-1]


def probe_path(name: str) -> Path:
    """Returns the path of a script in `probes/`."""
    return _PROBES_DIR / name


def _ask(python: str, arguments: Sequence[str]) -> dict[str, Any]:
    command = [python, str(probe_path("target_facts.py")), *arguments]
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            timeout=_PROBE_TIMEOUT_SECONDS,
        )
    except OSError as error:
        raise SetupError(
            f"the Python interpreter {python} cannot be started: {error.strerror}",
            fix="choose an existing one with --python",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SetupError(
            f"{python} did not answer within {_PROBE_TIMEOUT_SECONDS} s",
            fix=f"check whether this command ends: {' '.join(command)}",
        ) from error
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        asked = "import TensorFlow" if arguments[0] == "tensorflow" else "describe itself"
        raise SetupError(
            f"{python} could not {asked}: {last[0]}",
            fix=f"{python} -m pip install --force-reinstall 'tensorflow>=2.21,<2.22'",
        )
    facts: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return facts
