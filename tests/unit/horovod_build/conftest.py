"""A Python and a toolchain to build for, as plain values."""

from __future__ import annotations

import pytest

from hvd_imgcls.horovod_build.target import Target
from hvd_imgcls.horovod_build.toolchain import Toolchain


@pytest.fixture
def target() -> Target:
    return Target(
        python="/somewhere/bin/python",
        version=(3, 11, 7),
        abi="cpython-311-x86_64-linux-gnu",
        platform="linux-x86_64",
        libc="glibc 2.36",
        distributions={"tensorflow": "2.21.0", "horovod": None},
        horovod_build_record=None,
        tensorflow_flags=("-D_GLIBCXX_USE_CXX11_ABI=1", "--std=c++17"),
    )


@pytest.fixture
def toolchain() -> Toolchain:
    return Toolchain(
        compiler="/usr/bin/c++",
        compiler_version="c++ 12.2.0",
        make="/usr/bin/make",
        mpi_compiler="/usr/bin/mpicxx",
        mpi_version="g++ -I/usr/lib/openmpi -lmpi",
        cuda=None,
        architecture_flags=("-mavx",),
        build_variables=(),
    )
