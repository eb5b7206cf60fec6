"""Sets the project up on bare Debian systems, trains, asks the doctor, and prints a table.

    python3 -m tests.systems --systems bookworm trixie testing --compilers all

Needs root, mmdebstrap and some 5 GB for each system; nothing of the project's environment.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.systems.chroot import HOME, CommandFailedError, System

SYSTEMS = ("bookworm", "trixie", "testing")
# Beside the default compiler of each system.
COMPILERS = {
    "bookworm": ("g++-11", "clang-16"),
    "trixie": ("g++-13", "clang-17", "clang-18", "clang-19"),
    "testing": ("g++-15", "clang-21", "clang-22"),
}
_PROJECT = Path(__file__).parents[2]
_SUPPORTED = re.compile(r"Python 3\.1[123]\.")


def main() -> int:
    """Returns 0 when everything passed, else 1."""
    args = _parse_arguments()
    args.directory.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    for suite in args.systems:
        system = System(
            suite=suite, root=args.directory / suite, log_path=args.directory / f"{suite}.log"
        )
        system.log_path.write_text("")
        _try_system(system, _compilers_for(suite, args.compilers), args.python, rows)
        if not args.keep:
            shutil.rmtree(system.root)
    sys.stdout.write("\n" + _as_table(rows) + "\n")
    return 0 if all(row["result"] == "passes" for row in rows) else 1


def _try_system(
    system: System, compilers: list[str], python_dir: Path | None, rows: list[dict[str, str]]
) -> None:
    _say(f"{system.suite}: making the system")
    try:
        system.make()
        _copy_project(system)
        _install_supported_python(system)
        _try("c++", lambda: _set_up_and_train(system), system, rows)
        for compiler in compilers:
            _try(compiler, lambda name=compiler: _build_with(system, name), system, rows)
        if python_dir is not None:
            _try("c++", lambda: _set_up_with(system, python_dir), system, rows)
    except CommandFailedError as error:
        rows.append({"system": system.suite, "result": "FAILS"})
        _say(str(error))


def _try(compiler, step, system: System, rows: list[dict[str, str]]) -> None:
    start = time.monotonic()
    try:
        facts = step()
    except CommandFailedError as error:
        _say(str(error))
        facts = {"compiler": compiler, "result": "FAILS"}
    name = system.as_root(". /etc/os-release; echo $PRETTY_NAME, $(cat /etc/debian_version)")
    row = {"system": name.strip(), "result": "passes", **facts}
    row["whole"] = f"{time.monotonic() - start:.0f} s"
    rows.append(row)
    _say(f"{system.suite}: {row}")


def _install_supported_python(system: System) -> None:
    """Where python3 is too new, does what the set-up says, and only that."""
    if _SUPPORTED.match(system.as_root("python3 --version")):
        return
    system.as_root("apt-get update -qq")
    message = system.as_user("make train", expected=2)
    advice = re.search(r"sudo apt-get install (python3\S* python3\S*-venv)", message)
    if advice is None:
        raise CommandFailedError(f"{system.suite}: the set-up names no package:\n{message}")
    _say(f"{system.suite}: {message.strip()}")
    system.install(advice[1].split())


def _set_up_and_train(system: System) -> dict[str, str]:
    _say(f"{system.suite}: make train, from an empty home directory")
    output = system.as_user("make train")
    return {**_check(system, ".venv"), "compiling": _compile_time(output)}


def _set_up_with(system: System, python_dir: Path) -> dict[str, str]:
    _say(f"{system.suite}: make setup with the Python in {python_dir}")
    # To the same place, since programs may contain the path of their libraries.
    shutil.copytree(python_dir, system.root / python_dir.relative_to("/"), symlinks=True)
    system.as_root(f"chmod o+x {' '.join(str(path) for path in python_dir.parents)}")
    output = system.as_user(f"make setup PYTHON={python_dir}/bin/python3 VENV=.venv-other")
    return {**_check(system, ".venv-other"), "compiling": _compile_time(output)}


def _build_with(system: System, compiler: str) -> dict[str, str]:
    _say(f"{system.suite}: install-horovod with {compiler}")
    system.install([compiler])
    program = compiler.replace("clang-", "clang++-")
    output = system.as_user(
        ".venv/bin/hvd-imgcls install-horovod --force", environment={"CXX": program}
    )
    return {**_check(system, ".venv", program), "compiling": _compile_time(output)}


def _check(system: System, venv: str, compiler: str = "c++") -> dict[str, str]:
    report = system.as_user(f"{venv}/bin/hvd-imgcls doctor")
    return {
        "python": system.as_user(f"{venv}/bin/python --version").split()[1],
        "compiler": system.as_root(f"{compiler} --version").splitlines()[0],
        "doctor": report.strip().splitlines()[-1],
    }


def _compile_time(output: str) -> str:
    found = re.search(r"compiled in (\d+ s)", output)
    return found[1] if found else "not compiled"


def _copy_project(system: System) -> None:
    target = system.root / HOME.lstrip("/") / "project"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=_PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_PROJECT / name, path, follow_symlinks=False)
    system.give_to_user(target)


def _compilers_for(suite: str, wanted: list[str]) -> list[str]:
    offered = COMPILERS.get(suite, ())
    return [name for name in offered if "all" in wanted or name in wanted]


def _as_table(rows: list[dict[str, str]]) -> str:
    columns = ("system", "python", "compiler", "compiling", "whole", "doctor", "result")
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(row.get(column, "") for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m tests.systems", description=__doc__)
    parser.add_argument("--systems", nargs="+", default=SYSTEMS, help="Debian's names")
    parser.add_argument(
        "--compilers",
        nargs="*",
        default=[],
        metavar="PACKAGE",
        help=f"beside each system's own; 'all', or some of {COMPILERS}",
    )
    parser.add_argument(
        "--python",
        type=Path,
        metavar="DIR",
        help="also try the CPython that is installed in DIR, built for this system",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path("/var/tmp/hvd-imgcls-systems"),
        help="for systems and logs (default: %(default)s)",
    )
    parser.add_argument("--keep", action="store_true", help="leave the systems there")
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
