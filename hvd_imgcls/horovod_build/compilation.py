"""Compiles the Horovod wheel in a directory of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvd_imgcls.errors import SetupError
from hvd_imgcls.horovod_build.cache_key import build_requirements
from hvd_imgcls.horovod_build.compile_errors import explain_compile_errors
from hvd_imgcls.horovod_build.cuda_kernels import as_header, compile_kernels
from hvd_imgcls.horovod_build.cuda_wheels import CudaWheels
from hvd_imgcls.horovod_build.processes import Say, run_logged
from hvd_imgcls.horovod_build.sdist import fetch_sdist, unpack_and_patch
from hvd_imgcls.horovod_build.toolchain import Toolchain


@dataclass(frozen=True, kw_only=True, slots=True)
class Compilation:
    """One build of the wheel.

    Attributes:
        python: Interpreter to build for.
        toolchain: What builds it.
        record: The build record that is written into the wheel.
        sdists_dir: Where sdists are kept.
        log_path: File for the output of all steps.
        num_jobs: Number of files to compile in parallel.
        say: Prints a line.
    """

    python: str
    toolchain: Toolchain
    record: dict[str, Any]
    sdists_dir: Path
    log_path: Path
    num_jobs: int
    say: Say

    def run(self, wheel_dir: Path) -> None:
        """Puts the wheel into `wheel_dir` and removes everything else."""
        self.log_path.write_text("")
        with _directory_without_spaces(wheel_dir) as work_dir:
            python = _python_without_spaces(self.python, work_dir)
            environment = self._install_tools(work_dir / "tools")
            sdist_path = fetch_sdist(
                python,
                self.sdists_dir,
                log_path=self.log_path,
                environment=environment,
                say=self.say,
            )
            source_dir = unpack_and_patch(sdist_path, work_dir, self.record)
            if self.toolchain.cuda:
                environment |= self._prepare_cuda(self.toolchain.cuda, source_dir, work_dir)
            self._compile(python, source_dir, environment, work_dir / "dist")
            for path in (work_dir / "dist").glob("*.whl"):
                shutil.move(path, wheel_dir)

    def _install_tools(self, tools_dir: Path) -> dict[str, str]:
        self.say("downloading the build tools, CMake among them (30 MB)")
        command = [self.python, "-m", "pip", "install", "--quiet", "--require-hashes"]
        command += ["--no-deps", "--only-binary", ":all:", "--retries", "2"]
        command += ["--target", str(tools_dir)]
        for path in build_requirements(self.toolchain):
            command += ["--requirement", str(path)]
        what = "downloading the build tools"
        run_logged(command, what=what, log_path=self.log_path, say=self.say)
        return build_environment(self.toolchain, tools_dir, self.num_jobs)

    def _prepare_cuda(self, cuda: CudaWheels, source_dir: Path, work_dir: Path) -> dict[str, str]:
        """Compiles the kernels; returns the variables that a build with NCCL needs."""
        self.say("compiling the CUDA kernels with NVRTC (10 s)")
        cuda_home = work_dir / "cuda"
        headers_of_tools = work_dir / "tools" / "nvidia" / "cuda_cccl" / "include"
        cuda.make_cuda_home(cuda_home, [headers_of_tools])
        kernels_path = source_dir / "horovod" / "common" / "ops" / "cuda" / "cuda_kernels.cu"
        include_dirs = [kernels_path.parent, cuda_home / "include"]
        images = compile_kernels(cuda.nvrtc_path, kernels_path, include_dirs)
        kernels_path.with_name("cuda_kernel_images.h").write_text(as_header(images))
        return {"HOROVOD_GPU_OPERATIONS": "NCCL", "HOROVOD_CUDA_HOME": str(cuda_home)}

    def _compile(
        self, python: str, source_dir: Path, environment: dict[str, str], dist_dir: Path
    ) -> None:
        self.say(
            f"compiling Horovod with {self.num_jobs} jobs (2 to 6 minutes on 2 cores); "
            f"log: {self.log_path}"
        )
        start = time.monotonic()
        # Horovod's log lines begin with the path of a source file: keep it short.
        flags = f"{environment.get('CXXFLAGS', '')} -ffile-prefix-map={source_dir}/="
        run_logged(
            [python, "setup.py", "bdist_wheel", "--dist-dir", str(dist_dir)],
            what="compiling Horovod",
            log_path=self.log_path,
            say=self.say,
            environment={**environment, "CXXFLAGS": flags.strip()},
            working_dir=source_dir,
            explain=self._explain_failure,
        )
        self.say(f"compiled in {time.monotonic() - start:.0f} s")

    def _explain_failure(self, text: str) -> SetupError | None:
        return explain_compile_errors(text, self.toolchain.compiler_version, self.log_path)


def build_environment(toolchain: Toolchain, tools_dir: Path, num_jobs: int) -> dict[str, str]:
    """Returns the environment of the build: the caller's, without what must not affect it."""
    environment = {
        name: value
        for name, value in os.environ.items()
        # Setting CCL_ROOT is enough to switch oneCCL on.
        if not name.startswith(("HOROVOD_", "CMAKE_", "CCL_"))
    }
    # Set by `make` if it started this process; its job server is not for us.
    for name in ("MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"):
        environment.pop(name, None)
    python_path = [str(tools_dir), environment.get("PYTHONPATH", "")]
    environment.update(
        CXX=toolchain.compiler,
        MAKEFLAGS=f"-j{num_jobs}",
        PATH=f"{tools_dir / 'bin'}{os.pathsep}{environment.get('PATH', '')}",
        PYTHONPATH=os.pathsep.join(filter(None, python_path)),
        TF_CPP_MIN_LOG_LEVEL="3",
        HOROVOD_WITH_TENSORFLOW="1",
        HOROVOD_WITHOUT_PYTORCH="1",
        HOROVOD_WITHOUT_MXNET="1",
        HOROVOD_WITH_GLOO="1",
        # Otherwise compiled in wherever CUDA's headers happen to be found.
        HOROVOD_WITHOUT_NVTX="1",
        HOROVOD_BUILD_ARCH_FLAGS=" ".join(toolchain.architecture_flags),
    )
    environment["HOROVOD_WITH_MPI" if toolchain.mpi_compiler else "HOROVOD_WITHOUT_MPI"] = "1"
    return environment


@contextlib.contextmanager
def _directory_without_spaces(wheel_dir: Path) -> Iterator[Path]:
    """Yields a temporary directory: beside the wheel, unless that path has a space in it.

    Horovod's CMake files join paths into compiler flags without quotes.
    """
    parent = wheel_dir if " " not in str(wheel_dir) else Path(tempfile.gettempdir())
    if " " in str(parent):
        raise SetupError(
            f"Horovod cannot be compiled below a path with a space in it: {parent}",
            fix="set TMPDIR to a directory without one",
        )
    work_dir = Path(tempfile.mkdtemp(prefix="hvd-imgcls-", dir=parent))
    try:
        yield work_dir
    finally:
        shutil.rmtree(work_dir, ignore_errors=True)


def _python_without_spaces(python: str, work_dir: Path) -> str:
    """Returns a path of the interpreter without spaces, in its packages' paths either."""
    if " " not in python:
        return python
    path = Path(python)
    link = work_dir / "environment"
    link.symlink_to(path.parent.parent)
    return str(link / path.parent.name / path.name)
