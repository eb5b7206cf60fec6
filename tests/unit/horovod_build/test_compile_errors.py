"""What is said of a failed compilation. The logs are those of real ones; see `logs/`."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvd_imgcls.horovod_build.compile_errors import explain_compile_errors, first_errors

LOGS_DIR = Path(__file__).parent / "logs"
LOG_PATH = Path("/cache/logs/key.log")


def read(name: str) -> str:
    return (LOGS_DIR / f"{name}.txt").read_text()


def explain(name: str) -> str:
    error = explain_compile_errors(read(name), "g++ 14.2.0", LOG_PATH)
    assert error is not None
    return str(error)


@pytest.mark.parametrize(
    ("name", "errors"),
    [
        (
            "gcc-14",
            [
                "horovod/common/common.h:344:18: error: ‘logic_error’ is not a member of ‘std’",  # noqa: RUF001
                "third_party/flatbuffers/include/flatbuffers/stl_emulation.h:549:12: error: "
                "assignment of read-only member ‘flatbuffers::span<T, Extent>::count_’",  # noqa: RUF001
            ],
        ),
        (
            "clang-22",
            [
                "horovod/common/common.h:344:18: error: no member named 'logic_error' in "
                "namespace 'std'",
                "third_party/flatbuffers/include/flatbuffers/stl_emulation.h:549:12: error: "
                "cannot assign to non-static data member 'count_' with const-qualified type "
                "'const size_type' (aka 'const unsigned long')",
            ],
        ),
        ("killed", ["c++: fatal error: Killed signal terminated program cc1plus"]),
        ("no-memory", ["virtual memory exhausted: Cannot allocate memory"]),
        (
            "cannot-link",
            [
                "CMake Error: The C++ compiler /usr/bin/c++ is not able to compile a simple "
                "test program.",
                "/usr/bin/ld: cannot find -lnosuch: No such file or directory",
                "collect2: error: ld returned 1 exit status",
            ],
        ),
        ("no-mpi", ["CMake Error: Could NOT find MPI (missing: MPI_CXX_FOUND)"]),
    ],
)
def test_the_compilers_own_errors_are_found(name: str, errors: list[str]) -> None:
    assert first_errors(read(name)) == errors


def test_each_error_is_listed_once_and_five_at_most() -> None:
    line = "/build/horovod-0.28.1/a.cc:1:2: error: oops\n"
    assert first_errors(line * 3) == ["a.cc:1:2: error: oops"]
    many = "".join(f"/build/horovod-0.28.1/a.cc:{number}: error: oops\n" for number in range(9))
    assert len(first_errors(many)) == 5


@pytest.mark.parametrize(
    ("name", "meaning", "fix"),
    [
        ("gcc-14", "does not accept these sources", "CXX=g++-14"),
        ("clang-22", "GCC 11 to 16 and Clang 16 to 22", "CXX=g++-14"),
        ("clang-without-library", "no C++ standard library", "apt-get install g++"),
        ("killed", "ran out of memory", "--jobs 1"),
        ("no-memory", "ran out of memory", "--jobs 1"),
        ("cannot-link", "cannot build even a minimal program", "LDFLAGS"),
        ("no-mpi", "MPI", "--without-mpi"),
        ("warnings-are-errors", "treat warnings as errors", "unset CXXFLAGS"),
    ],
)
def test_the_meaning_and_the_fix_follow(name: str, meaning: str, fix: str) -> None:
    message = explain(name)
    assert meaning in message
    assert fix in message.split("to fix it: ")[1]


def test_compiler_log_and_errors_are_named_and_no_traceback_is_shown() -> None:
    message = explain("no-mpi")
    assert "g++ 14.2.0" in message
    assert str(LOG_PATH) in message
    assert "Could NOT find MPI" in message
    assert "Traceback" not in message
    assert "CalledProcessError" not in message


def test_a_log_without_errors_is_left_to_others() -> None:
    assert explain_compile_errors("[ 50%] Building error.cc.o\n", "g++", LOG_PATH) is None
