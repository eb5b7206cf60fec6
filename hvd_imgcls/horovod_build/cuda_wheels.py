"""CUDA and NCCL as `tensorflow[and-cuda]` installs them, made to look like a CUDA toolkit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls.errors import SetupError
from hvd_imgcls.horovod_build.target import CUDA_DISTRIBUTIONS, Target

_INSTALL = "-m pip install 'tensorflow[and-cuda]>=2.21,<2.22'"

# In site-packages/nvidia: what is linked, and where headers are.
_LIBRARIES = ("cuda_runtime/lib/libcudart.so.12", "nccl/lib/libnccl.so.2")
_INCLUDES = ("cuda_runtime/include", "cuda_nvcc/include", "nccl/include")


@dataclass(frozen=True, kw_only=True, slots=True)
class CudaWheels:
    """CUDA and NCCL of one Python environment.

    Attributes:
        directory: Its `site-packages/nvidia`.
        versions: The distributions with their versions, as text.
    """

    directory: Path
    versions: str

    @property
    def nvrtc_path(self) -> Path:
        """Path of the library that compiles kernels."""
        return self.directory / "cuda_nvrtc" / "lib" / "libnvrtc.so.12"

    def make_cuda_home(self, cuda_home: Path, more_includes: Iterable[Path]) -> None:
        """Makes a directory with `include` and `lib64` out of links to the wheels' files.

        Args:
            cuda_home: The directory to make.
            more_includes: Further directories of headers.
        """
        (cuda_home / "include").mkdir(parents=True)
        (cuda_home / "lib64").mkdir()
        for name in _LIBRARIES:
            path = self.directory / name
            (cuda_home / "lib64" / path.name).symlink_to(path)
        for directory in (*(self.directory / name for name in _INCLUDES), *more_includes):
            for path in directory.iterdir():
                link = cuda_home / "include" / path.name
                if not link.is_symlink() and path.name != "__pycache__":
                    link.symlink_to(path)


def find_cuda_wheels(target: Target) -> CudaWheels:
    """Returns the CUDA and NCCL that are installed with a Python's TensorFlow.

    Raises:
        SetupError: If they are not, or not completely.
    """
    fix = f"{target.python} {_INSTALL}"
    missing = [name for name in CUDA_DISTRIBUTIONS if target.distributions.get(name) is None]
    if missing or target.nvidia_dir is None:
        raise SetupError(
            "--gpu nccl builds against the CUDA and NCCL that TensorFlow's extra and-cuda "
            f"installs; {target.python} does not have {', '.join(missing)}",
            fix=fix,
        )
    directory = Path(target.nvidia_dir)
    wheels = CudaWheels(
        directory=directory,
        versions=", ".join(f"{name} {target.distributions[name]}" for name in CUDA_DISTRIBUTIONS),
    )
    needed = [directory / name for name in (*_LIBRARIES, *_INCLUDES)] + [wheels.nvrtc_path]
    absent = [str(path) for path in needed if not path.exists()]
    if absent:
        raise SetupError(
            f"the CUDA packages of {target.python} are incomplete: {', '.join(absent)} not found",
            fix=f"{fix} --force-reinstall",
        )
    return wheels
