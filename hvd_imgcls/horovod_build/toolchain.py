"""Finds what compiles Horovod: compiler, make, MPI."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls.errors import SetupError
from hvd_imgcls.horovod_build.cuda_wheels import CudaWheels

# Horovod's CMakeLists.txt uses these instructions if the machine has them.
_CPU_FLAGS = ("f16c", "avx", "fma")

# Variables that CMake or the compilers read and that affect the result.
_BUILD_VARIABLES = ("CFLAGS", "CPPFLAGS", "CXXFLAGS", "LDFLAGS")


@dataclass(frozen=True, kw_only=True, slots=True)
class Toolchain:
    """The programs that build Horovod, and what they build.

    Attributes:
        compiler: Path of the C++ compiler.
        compiler_version: First line of its `--version`.
        make: Path of `make`.
        mpi_compiler: Path of `mpicxx`, None to build without MPI.
        mpi_version: What `mpicxx -show` prints: the compiler line with MPI's paths.
        cuda: CUDA and NCCL, None to build without them.
        architecture_flags: Compiler flags for the instructions that this CPU has.
        build_variables: Compiler flags that the user's environment sets.
    """

    compiler: str
    compiler_version: str
    make: str
    mpi_compiler: str | None
    mpi_version: str
    cuda: CudaWheels | None
    architecture_flags: tuple[str, ...]
    build_variables: tuple[tuple[str, str], ...]


def find_toolchain(
    *, mpi: bool | None, cuda: CudaWheels | None, environment: Mapping[str, str] | None = None
) -> Toolchain:
    """Looks for everything that the build needs.

    Args:
        mpi: Whether to build with MPI. None: if `mpicxx` is found.
        cuda: CUDA and NCCL, or None.
        environment: The environment to look in, including `PATH`. This process's when None.

    Raises:
        SetupError: If something is missing; one message names everything that is.
    """
    environment = os.environ if environment is None else environment
    path = environment.get("PATH", "")
    # CXX may hold a launcher or flags behind the program ("ccache g++").
    wanted = environment.get("CXX", "").split()[:1]
    compilers = wanted or ["c++", "g++", "clang++"]
    compiler = next(filter(None, (shutil.which(name, path=path) for name in compilers)), None)
    make = shutil.which("make", path=path) or shutil.which("gmake", path=path)
    mpi_compiler = None if mpi is False else shutil.which("mpicxx", path=path)
    missing = [
        (compiler is None, f"a C++ compiler ({' or '.join(compilers)})", "g++"),
        (make is None, "make", "make"),
        (mpi is True and mpi_compiler is None, "MPI's compiler mpicxx", "libopenmpi-dev"),
    ]
    if compiler is None or make is None or any(is_missing for is_missing, _, _ in missing):
        names = [name for is_missing, name, _ in missing if is_missing]
        packages = [package for is_missing, _, package in missing if is_missing]
        if "libopenmpi-dev" in packages:
            packages.append("openmpi-bin")
        raise SetupError(
            f"not installed, or not in PATH: {', '.join(names)}",
            fix=f"on Debian or Ubuntu: sudo apt-get install {' '.join(packages)}",
        )
    return Toolchain(
        compiler=compiler,
        compiler_version=_first_line([compiler, "--version"]),
        make=make,
        mpi_compiler=mpi_compiler,
        mpi_version=_first_line([mpi_compiler, "-show"]) if mpi_compiler else "",
        cuda=cuda,
        architecture_flags=architecture_flags(),
        build_variables=tuple(
            (name, environment[name]) for name in _BUILD_VARIABLES if environment.get(name)
        ),
    )


def architecture_flags(cpuinfo_path: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """Returns the flags that Horovod uses for half precision, as far as this CPU supports them.

    Horovod's CMake files ask the compiler. Here the kernel is asked, so that the flags can be
    part of the cache key: machines with different CPUs may share a home directory.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return ()
    try:
        text = cpuinfo_path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    match = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    has = set(match[1].split()) if match else set()
    return tuple(f"-m{flag}" for flag in _CPU_FLAGS if flag in has)


def _first_line(command: list[str]) -> str:
    return (_output(command).splitlines() or [""])[0].strip()


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(
            f"{command[0]} does not run: {error}", fix=f"run it by hand: {' '.join(command)}"
        ) from error
    if done.returncode != 0:
        raise SetupError(
            f"{' '.join(command)} fails with exit code {done.returncode}: {done.stderr.strip()}",
            fix="reinstall it, or remove it from PATH",
        )
    return done.stdout
