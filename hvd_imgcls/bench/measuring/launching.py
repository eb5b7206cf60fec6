"""Launches the processes of a benchmark."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hvd_imgcls.errors import HvdImgclsError, SetupError

_PROGRESS = "progress: "


def show_progress(text: str) -> None:
    """Prints a line that `run_module` passes on while the module runs: for its root."""
    sys.stdout.write(f"{_PROGRESS}{text}\n")
    sys.stdout.flush()


def progress_in(line: str) -> str:
    """Returns what `show_progress` has printed, without the prefix of a launcher; else ""."""
    return line.partition(_PROGRESS)[2].rstrip("\n")


def run_module(
    module: str,
    arguments: Sequence[str],
    *,
    size: int,
    threads: int,
    timeout_seconds: float,
    variables: Mapping[str, str] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Any:
    """Runs a module in `size` new processes and returns the JSON that it wrote.

    Args:
        module: Receives the name of its result file where `arguments` contain `{result}`.
        arguments: Its other arguments.
        size: Number of ranks; one is started without a launcher.
        threads: Intra-op threads of each process.
        timeout_seconds: Maximum duration.
        variables: More environment variables.
        on_progress: Called with every text that the module passes to `show_progress`.

    Raises:
        SetupError: If horovodrun is missing.
        HvdImgclsError: If the module fails, with the end of its output.
    """
    with tempfile.TemporaryDirectory(prefix="hvd-imgcls-bench-") as directory:
        result = Path(directory) / "result.json"
        words = [argument.format(result=result) for argument in arguments]
        command = [*launcher(size), sys.executable, "-m", module, *words]
        variables = environment(threads, os.environ) | dict(variables or {})
        code, lines = _run(command, variables, timeout_seconds, on_progress)
        if code or not result.exists():
            how = f"ended with exit code {code}" if code is not None else "did not end in time"
            raise HvdImgclsError(f"{' '.join(command)} {how}:\n" + "\n".join(lines[-30:]))
        return json.loads(result.read_text())


def _run(
    command: Sequence[str],
    variables: Mapping[str, str],
    timeout_seconds: float,
    on_progress: Callable[[str], None] | None,
) -> tuple[int | None, list[str]]:
    """Returns the exit code of a command, None if it did not end in time, and its output."""
    lines = []
    with subprocess.Popen(
        command,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        too_late = threading.Event()

        def end() -> None:
            too_late.set()
            process.kill()

        timer = threading.Timer(timeout_seconds, end)
        timer.start()
        try:
            for line in process.stdout or ():
                lines.append(line.rstrip("\n"))
                if on_progress is not None and progress_in(line):
                    on_progress(progress_in(line))
            code = process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            timer.cancel()
    return None if too_late.is_set() else code, lines


def prepare_records(folder: Path, destination: Path, options: Sequence[str] = ()) -> None:
    """Runs `hvd-imgcls prepare` on the splits `train` and `held_out` of a folder.

    Args:
        folder: Folder of the splits.
        destination: Folder of the record files.
        options: Other options of `prepare`.

    Raises:
        HvdImgclsError: If it fails, with its output.
    """
    splits = ["--train-folder", "train", "--held-out-folder", "held_out"]
    words = [str(folder), str(destination), *splits, *options]
    done = subprocess.run(
        [sys.executable, "-m", "hvd_imgcls", "prepare", *words],
        env=environment(1, os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise HvdImgclsError(f"hvd-imgcls prepare failed:\n{done.stdout}{done.stderr}")


def launcher(size: int) -> list[str]:
    """Returns the command prefix that starts `size` ranks on this host.

    Raises:
        SetupError: If horovodrun is missing.
    """
    if size == 1:
        return []
    beside_python = Path(sys.executable).with_name("horovodrun")
    horovodrun = str(beside_python) if beside_python.exists() else shutil.which("horovodrun")
    if horovodrun is None:
        raise SetupError("horovodrun is not installed", fix="hvd-imgcls install-horovod")
    return [
        horovodrun,
        "--gloo",
        "--disable-cache",
        "-np",
        str(size),
        "-H",
        f"localhost:{size}",
    ]


def environment(threads: int, base: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of a process with `threads` threads."""
    return {
        **base,
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": "2",
        "OMP_NUM_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
