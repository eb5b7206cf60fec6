"""Launches the processes of a benchmark."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hvd_imgcls.errors import HvdImgclsError, SetupError


def run_module(
    module: str,
    arguments: Sequence[str],
    *,
    size: int,
    threads: int,
    timeout_seconds: float,
    variables: Mapping[str, str] | None = None,
) -> Any:
    """Runs a module in `size` new processes and returns the JSON that it wrote.

    Args:
        module: Receives the name of its result file where `arguments` contain `{result}`.
        arguments: Its other arguments.
        size: Number of ranks; one is started without a launcher.
        threads: Intra-op threads of each process.
        timeout_seconds: Maximum duration.
        variables: More environment variables.

    Raises:
        SetupError: If horovodrun is missing.
        HvdImgclsError: If the module fails, with the end of its output.
    """
    with tempfile.TemporaryDirectory(prefix="hvd-imgcls-bench-") as directory:
        result = Path(directory) / "result.json"
        words = [argument.format(result=result) for argument in arguments]
        command = [*launcher(size), sys.executable, "-m", module, *words]
        finished = subprocess.run(
            command,
            env=environment(threads, os.environ) | dict(variables or {}),
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        if finished.returncode or not result.exists():
            output = (finished.stdout + finished.stderr).splitlines()[-30:]
            raise HvdImgclsError(
                f"{' '.join(command)} ended with exit code {finished.returncode}:\n"
                + "\n".join(output)
            )
        return json.loads(result.read_text())


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
