"""Explains a failed compilation: the compiler's own first errors, what they mean, what helps."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls.errors import SetupError

# What `make test-systems` has compiled and tested; docs/install.md has the versions.
TRIED_COMPILERS = "GCC 11 to 16 and Clang 16 to 22"

_MAX_ERRORS = 5

_ERROR = re.compile(
    r"^\s*("
    # GCC and Clang at a place in the sources; a program of theirs, such as collect2 or ld.lld.
    r"[^\s:]+:(?:\d+:)*\s(?:fatal )?error: .+"
    r"|\S*\bld(?:\.\w+)?: .*(?:cannot find|undefined reference).*"
    r"|virtual memory exhausted: .*"
    r"|CMake Error(?: at .*)?:"
    r")$"
)
_BUILD_DIRECTORY = re.compile(r"\S*/horovod-[\d.]+/")
# CMake puts its message on the lines that follow; one of these ends it.
_AFTER_CMAKE_MESSAGE = re.compile(r"Call Stack|It fails with|-- ")


@dataclass(frozen=True, slots=True)
class _Meaning:
    pattern: str
    meaning: str
    fix: str


# The first whose pattern is in the log counts. {install} stands for the command.
_MEANINGS = (
    _Meaning(
        r"Killed signal terminated|command: Killed|virtual memory exhausted|: out of memory",
        "the machine ran out of memory while several files were being compiled",
        "compile one file at a time: {install} --jobs 1",
    ),
    _Meaning(
        r"Could NOT find MPI|fatal error: '?mpi\.h",
        "mpicxx was found, but MPI's headers or libraries were not",
        "sudo apt-get install libopenmpi-dev openmpi-bin, or build without MPI: "
        "{install} --without-mpi",
    ),
    _Meaning(
        r"fatal error: '?[a-z_]+'?(?: file not found|: No such file)",
        "the compiler has no C++ standard library; Clang uses the one of GCC",
        "sudo apt-get install g++",
    ),
    _Meaning(
        r"\[-Werror",
        "the compiler was told to treat warnings as errors, by CXXFLAGS or CPPFLAGS",
        "unset CXXFLAGS CPPFLAGS",
    ),
    _Meaning(
        r"is not able to compile a simple test program|cannot find -l",
        "the compiler cannot build even a minimal program with the flags it is given",
        "unset CXXFLAGS and LDFLAGS, or choose another compiler, e.g. CXX=g++",
    ),
)
_OTHERWISE = _Meaning(
    "",
    f"the compiler does not accept these sources; {TRIED_COMPILERS} have been tried and do",
    "choose another compiler, e.g. CXX=g++-14 in front of the same command; if yours is one of "
    "those, please report this with the log",
)


def explain_compile_errors(text: str, compiler: str, log_path: Path) -> SetupError | None:
    """Returns the error to raise for the log of a failed compilation.

    Args:
        text: The log.
        compiler: Name and version of the C++ compiler.
        log_path: Where the log is.

    Returns:
        None if the log has no error that is known by its form.
    """
    errors = first_errors(text)
    if not errors:
        return None
    meaning = _meaning_of(text)
    listed = "\n".join(f"    {line}" for line in errors)
    return SetupError(
        f"compiling Horovod with {compiler} failed. The first errors:\n{listed}\n"
        f"  what they mean: {meaning.meaning}\n"
        f"  the whole log: {log_path}",
        fix=meaning.fix.format(install=_install_command()),
    )


def first_errors(text: str) -> list[str]:
    """Returns the first errors of compiler, linker or CMake in a log, each once."""
    found: dict[str, None] = {}
    lines = text.splitlines()
    for index, line in enumerate(lines):
        match = _ERROR.match(line)
        if match is None:
            continue
        error = _BUILD_DIRECTORY.sub("", match[1])
        if error.startswith("CMake Error"):
            error = f"CMake Error: {_cmake_message(lines[index + 1 :])}"
        found[error] = None
        if len(found) == _MAX_ERRORS:
            break
    return list(found)


def _cmake_message(lines: list[str]) -> str:
    words: list[str] = []
    for line in lines:
        if _AFTER_CMAKE_MESSAGE.match(line.strip()):
            break
        words += line.replace('"', "").split()
    return " ".join(words)


def _meaning_of(text: str) -> _Meaning:
    for meaning in _MEANINGS:
        if re.search(meaning.pattern, text):
            return meaning
    return _OTHERWISE


def _install_command() -> str:
    script = Path(sys.executable).with_name("hvd-imgcls")
    return f"{script if script.exists() else 'hvd-imgcls'} install-horovod"
