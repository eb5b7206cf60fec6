"""What is said when compiler, make or MPI are missing. Real programs, no stand-ins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hvd_imgcls.errors import SetupError
from hvd_imgcls.horovod_build.toolchain import architecture_flags, find_toolchain


def make_program(directory: Path, name: str, script: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_an_empty_path_gives_one_message_for_all(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as caught:
        find_toolchain(mpi=True, cuda=None, environment={"PATH": str(tmp_path)})
    message = str(caught.value)
    assert "a C++ compiler (c++ or g++ or clang++), make, MPI's compiler mpicxx" in message
    assert "sudo apt-get install g++ make libopenmpi-dev openmpi-bin" in message
    assert caught.value.exit_code == 2


def test_a_compiler_that_does_not_run_is_named(tmp_path: Path) -> None:
    make_program(tmp_path, "make", "exit 0")
    make_program(tmp_path, "c++", "echo broken >&2; exit 3")
    with pytest.raises(SetupError, match=r"c\+\+ --version fails with exit code 3: broken"):
        find_toolchain(mpi=None, cuda=None, environment={"PATH": str(tmp_path)})


def test_without_mpicxx_the_default_is_gloo_alone(tmp_path: Path) -> None:
    make_program(tmp_path, "make", "exit 0")
    make_program(tmp_path, "g++", "echo g++ 12")
    found = find_toolchain(mpi=None, cuda=None, environment={"PATH": str(tmp_path)})
    assert found.mpi_compiler is None
    assert found.compiler == str(tmp_path / "g++")
    assert found.compiler_version == "g++ 12"


def test_with_mpicxx_the_default_is_mpi_too_unless_unwanted(tmp_path: Path) -> None:
    make_program(tmp_path, "make", "exit 0")
    make_program(tmp_path, "c++", "echo c++ 12")
    make_program(tmp_path, "mpicxx", "echo g++ -lmpi")
    environment = {"PATH": str(tmp_path)}
    assert find_toolchain(mpi=None, cuda=None, environment=environment).mpi_version == "g++ -lmpi"
    assert find_toolchain(mpi=False, cuda=None, environment=environment).mpi_compiler is None


def test_cxx_and_flags_of_the_environment_are_taken_over(tmp_path: Path) -> None:
    make_program(tmp_path, "make", "exit 0")
    make_program(tmp_path, "my-g++", "echo my own")
    environment = {"PATH": str(tmp_path), "CXX": "my-g++ -m64", "CXXFLAGS": "-O1"}
    found = find_toolchain(mpi=None, cuda=None, environment=environment)
    assert found.compiler_version == "my own"
    assert ("CXXFLAGS", "-O1") in found.build_variables


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="flags of x86")
def test_only_instructions_that_the_cpu_has_are_used(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("flags\t\t: fpu sse2 avx f16c avx2\nbugs\t\t: fma\n")
    assert architecture_flags(path) == ("-mf16c", "-mavx")
    assert architecture_flags(tmp_path / "missing") == ()
