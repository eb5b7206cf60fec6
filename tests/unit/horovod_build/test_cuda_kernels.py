"""Kernels compiled by NVRTC. With the extra and-cuda of TensorFlow the real ones, without a GPU."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hvd_imgcls.errors import SetupError
from hvd_imgcls.horovod_build.cuda_kernels import (
    KernelImage,
    as_header,
    compile_kernels,
    kernels_in,
)
from hvd_imgcls.horovod_build.cuda_wheels import find_cuda_wheels
from hvd_imgcls.horovod_build.target import inspect_target

SOURCE = """
namespace horovod {
namespace common {
#ifdef __CUDACC_RTC__
template <typename T> __global__ void scale_k(T* data, T factor) {
  data[threadIdx.x] *= factor;
}
#else
void Scale() { Launch("scale_k<float>", 1, 2); Launch("scale_k<double>", 1, 2); }
#endif
}
}
"""


@pytest.fixture
def nvrtc_path() -> Path:
    try:
        return find_cuda_wheels(inspect_target(sys.executable)).nvrtc_path
    except SetupError:
        pytest.skip("TensorFlow's extra and-cuda is not installed")


def test_every_kernel_that_is_launched_is_compiled_for_every_kind_of_gpu(
    nvrtc_path: Path, tmp_path: Path
) -> None:
    source_path = tmp_path / "kernels.cu"
    source_path.write_text(SOURCE)
    images = compile_kernels(nvrtc_path, source_path, [])
    assert images[-1].is_ptx
    assert {80, 90} <= {image.compute_capability for image in images}
    for image in images:
        assert list(image.symbols) == ["scale_k<float>", "scale_k<double>"]
        for symbol in image.symbols.values():
            assert symbol.encode() in image.code


def test_an_error_of_nvrtc_is_shown(nvrtc_path: Path, tmp_path: Path) -> None:
    source_path = tmp_path / "kernels.cu"
    source_path.write_text(SOURCE.replace("factor;", "oops;"))
    with pytest.raises(SetupError, match=r"cuda_kernels.cu\(\d+\): error: .*oops"):
        compile_kernels(nvrtc_path, source_path, [])


def test_a_library_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="libnvrtc"):
        compile_kernels(tmp_path / "libnvrtc.so.12", tmp_path / "kernels.cu", [])


def test_kernels_are_found_once_and_in_order() -> None:
    assert kernels_in(SOURCE) == ["scale_k<float>", "scale_k<double>"]


def test_the_header_is_cpp_and_holds_the_bytes(tmp_path: Path) -> None:
    images = [
        KernelImage(compute_capability=90, is_ptx=False, code=b"\x7fELF", symbols={"k<8>": "_k8"}),
        KernelImage(compute_capability=120, is_ptx=True, code=b"//\0", symbols={"k<8>": "_k8"}),
    ]
    program = """
    #include "images.h"
    #include <iostream>
    int main() {
      for (auto& image : kKernelImages)
        std::cout << image.major << "." << image.minor << " " << image.is_ptx << " "
                  << static_cast<const char*>(image.data)[1] << "\\n";
      std::cout << kKernelNames.at("k<8>");
    }
    """
    (tmp_path / "images.h").write_text(as_header(images))
    (tmp_path / "main.cc").write_text(program)
    compiler = shutil.which("c++")
    assert compiler is not None
    subprocess.run([compiler, "main.cc", "-o", "main"], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True)
    assert done.stdout == "9.0 0 E\n12.0 1 /\n_k8"
