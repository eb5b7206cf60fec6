"""CUDA as pip installs it: what is missing is named, and the links lead to the wheels' files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hvd_imgcls.errors import SetupError
from hvd_imgcls.horovod_build.cuda_wheels import find_cuda_wheels
from hvd_imgcls.horovod_build.target import CUDA_DISTRIBUTIONS, Target

FILES = (
    "cuda_runtime/lib/libcudart.so.12",
    "cuda_runtime/include/cuda.h",
    "cuda_runtime/include/__pycache__/x",
    "cuda_nvcc/include/crt/host_config.h",
    "cuda_nvrtc/lib/libnvrtc.so.12",
    "nccl/lib/libnccl.so.2",
    "nccl/include/nccl.h",
)


@pytest.fixture
def with_cuda(target: Target, tmp_path: Path) -> Target:
    for name in FILES:
        path = tmp_path / "nvidia" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    distributions = target.distributions | dict.fromkeys(CUDA_DISTRIBUTIONS, "12.9")
    return dataclasses.replace(
        target, distributions=distributions, nvidia_dir=str(tmp_path / "nvidia")
    )


def test_without_cuda_the_extra_is_named(target: Target) -> None:
    with pytest.raises(SetupError, match="does not have nvidia-cuda-runtime-cu12, ") as caught:
        find_cuda_wheels(target)
    assert "tensorflow[and-cuda]" in caught.value.fix


def test_versions_are_part_of_the_answer(with_cuda: Target) -> None:
    assert "nvidia-nccl-cu12 12.9" in find_cuda_wheels(with_cuda).versions


def test_a_missing_file_is_named(with_cuda: Target) -> None:
    path = Path(str(with_cuda.nvidia_dir), "nccl/lib/libnccl.so.2")
    path.unlink()
    with pytest.raises(SetupError, match=r"libnccl\.so\.2 not found"):
        find_cuda_wheels(with_cuda)


def test_the_cuda_home_has_headers_and_libraries_in_one_place(
    with_cuda: Target, tmp_path: Path
) -> None:
    more = tmp_path / "cccl" / "include"
    (more / "nv").mkdir(parents=True)
    (more / "nv" / "target").write_text("more")
    home = tmp_path / "cuda"
    find_cuda_wheels(with_cuda).make_cuda_home(home, [more])
    assert (home / "lib64/libcudart.so.12").read_text() == "cuda_runtime/lib/libcudart.so.12"
    assert (home / "lib64/libnccl.so.2").exists()
    for name in ("cuda.h", "crt/host_config.h", "nccl.h", "nv/target"):
        assert (home / "include" / name).exists(), name
    assert not (home / "include/__pycache__").exists()
