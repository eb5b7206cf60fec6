"""The cache key: every ingredient counts, and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from hvd_imgcls.horovod_build import cache_key as module
from hvd_imgcls.horovod_build.cache_key import cache_key, hash_files, key_ingredients
from hvd_imgcls.horovod_build.cuda_wheels import CudaWheels
from hvd_imgcls.horovod_build.target import Target
from hvd_imgcls.horovod_build.toolchain import Toolchain


def key_of(target: Target, toolchain: Toolchain) -> str:
    return cache_key(key_ingredients(target, toolchain))


@pytest.mark.parametrize(
    "change",
    [
        {"distributions": {"tensorflow": "2.21.1"}},
        {"tensorflow_flags": ("-D_GLIBCXX_USE_CXX11_ABI=0", "--std=c++17")},
        {"abi": "cpython-312-x86_64-linux-gnu"},
        {"platform": "linux-aarch64"},
        {"libc": "glibc 2.39"},
    ],
)
def test_what_belongs_to_the_target_changes_the_key(
    target: Target, toolchain: Toolchain, change: dict[str, Any]
) -> None:
    changed = dataclasses.replace(target, **change)
    assert key_of(changed, toolchain) != key_of(target, toolchain)


@pytest.mark.parametrize(
    "change",
    [
        {"compiler_version": "c++ 13.1.0"},
        {"mpi_version": ""},
        {"cuda": CudaWheels(directory=Path("/nvidia"), versions="nvidia-nccl-cu12 2.27.7")},
        {"architecture_flags": ()},
        {"build_variables": (("CXXFLAGS", "-O0"),)},
    ],
)
def test_what_belongs_to_the_toolchain_changes_the_key(
    target: Target, toolchain: Toolchain, change: dict[str, Any]
) -> None:
    changed = dataclasses.replace(toolchain, **change)
    assert key_of(target, changed) != key_of(target, toolchain)


def test_patches_and_build_tools_change_the_key(
    target: Target, toolchain: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key_of(target, toolchain)
    other = tmp_path / "build-requirements.txt"
    other.write_text("cmake==4.0\n")
    with monkeypatch.context() as patched:
        patched.setattr(module, "BUILD_REQUIREMENTS_PATH", other)
        assert key_of(target, toolchain) != before
    with monkeypatch.context() as patched:
        patched.setattr(module, "patch_files", lambda: [other])
        assert key_of(target, toolchain) != before
    assert key_of(target, toolchain) == before


def test_where_the_python_lies_does_not_change_the_key(
    target: Target, toolchain: Toolchain
) -> None:
    moved = dataclasses.replace(target, python="/elsewhere/bin/python", version=(3, 11, 9))
    assert key_of(moved, toolchain) == key_of(target, toolchain)


def test_the_key_is_a_readable_directory_name(target: Target, toolchain: Toolchain) -> None:
    key = key_of(target, toolchain)
    assert key.startswith("tf2.21.0-cpython-311-x86_64-linux-gnu-")
    assert "/" not in key


def test_a_hash_of_files_knows_where_one_ends(tmp_path: Path) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    one.write_text("ab")
    two.write_text("c")
    before = hash_files([one, two])
    one.write_text("a")
    two.write_text("bc")
    assert hash_files([one, two]) != before
