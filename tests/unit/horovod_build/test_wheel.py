"""The wheel cache: what is found, what is refused, what a broken-off build leaves."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import threading
from pathlib import Path

import pytest

from hvd_imgcls.errors import SetupError
from hvd_imgcls.horovod_build.compilation import build_environment
from hvd_imgcls.horovod_build.target import Target
from hvd_imgcls.horovod_build.toolchain import Toolchain
from hvd_imgcls.horovod_build.wheel import build_record, cache_dir, find_or_build_wheel


@dataclasses.dataclass
class Build:
    """A cache directory and what a build in it is for."""

    target: Target
    toolchain: Toolchain
    cache: Path

    def put_wheel(self) -> Path:
        directory = self.cache / str(build_record(self.target, self.toolchain)["key"])
        directory.mkdir(parents=True)
        path = directory / "horovod-0.28.1+hvdimgcls.8-cp311-cp311-linux_x86_64.whl"
        path.touch()
        return path

    def find(self, lines: list[str]) -> Path:
        return find_or_build_wheel(
            self.target, self.toolchain, num_jobs=1, rebuild=False, say=lines.append
        )


@pytest.fixture
def build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: Target, toolchain: Toolchain
) -> Build:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Build(target, toolchain, cache_dir())


def test_a_wheel_with_the_same_key_is_found(build: Build) -> None:
    path = build.put_wheel()
    lines: list[str] = []
    assert build.find(lines) == path
    assert any("earlier build" in line for line in lines)


def test_a_build_that_fails_leaves_nothing_that_looks_finished(build: Build) -> None:
    # The target names a Python that does not exist, so the first step fails.
    left = build.cache / "building-dead"
    left.mkdir(parents=True)
    with pytest.raises(SetupError, match="building Horovod"):
        build.find([])
    assert sorted(path.name for path in build.cache.iterdir()) == ["lock", "logs", "sdists"]


def test_a_cache_directory_without_its_wheel_is_named(build: Build) -> None:
    build.put_wheel().unlink()
    with pytest.raises(SetupError, match="rm -r"):
        build.find([])


def test_two_builds_wait_for_each_other(build: Build) -> None:
    path = build.put_wheel()
    lines: list[str] = []
    found: list[Path] = []
    with (build.cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=lambda: found.append(build.find(lines)))
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        assert any("another build is running" in line for line in lines)
    thread.join(10)
    assert found == [path]


def test_a_cache_that_cannot_be_made_is_one_message(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(SetupError, match="XDG_CACHE_HOME"):
        build.find([])


def test_the_users_horovod_variables_do_not_leak_into_the_build(
    toolchain: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOROVOD_WITHOUT_GLOO", "1")
    monkeypatch.setenv("CMAKE_GENERATOR", "Ninja")
    monkeypatch.setenv("MAKEFLAGS", "-n --jobserver-auth=3,4")
    environment = build_environment(toolchain, tmp_path, 3)
    assert "HOROVOD_WITHOUT_GLOO" not in environment
    assert "CMAKE_GENERATOR" not in environment
    assert environment["MAKEFLAGS"] == "-j3"
    assert environment["HOROVOD_WITH_MPI"] == "1"
    without = dataclasses.replace(toolchain, mpi_compiler=None)
    assert build_environment(without, tmp_path, 3)["HOROVOD_WITHOUT_MPI"] == "1"


def test_the_record_says_what_is_built_and_is_json(target: Target, toolchain: Toolchain) -> None:
    record = build_record(target, toolchain)
    assert record["with_mpi"] is True
    assert record["with_nccl"] is False
    assert json.loads(json.dumps(record)) == record
