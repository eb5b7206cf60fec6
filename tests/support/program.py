"""Runs the program as a user does: `horovodrun ... hvd-imgcls ...`, as real processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from tests.support.launch import ROOT

BIN = Path(sys.executable).parent
PIPELINE = str(ROOT / "pipelines" / "digits_cnn.yaml")
TAG = "HVD_IMGCLS_TEST_TAG"


class Launched:
    """A command and everything it started, found by a tag in the environment.

    Args:
        command: The command.
        cwd: Directory to run in.
        environment: More variables.
        tag: The tag; by default a new one.
    """

    def __init__(
        self, command: Sequence[str], cwd: Path, environment: Mapping[str, str], tag: str = ""
    ) -> None:
        self.tag = tag or uuid.uuid4().hex
        self.output_path = cwd / f"output-{uuid.uuid4().hex}.txt"
        self.command = list(command)
        with self.output_path.open("wb") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=cwd,
                env={**os.environ, TAG: self.tag, "PYTHONPATH": str(ROOT), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What all processes have written so far."""
        return self.output_path.read_text(errors="replace")

    def wait(self, timeout_seconds: float) -> int:
        """Returns the exit code; fails the test if there is none in time."""
        try:
            return self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{' '.join(self.command)}: no end within {timeout_seconds} s\n{self.output}"
            ) from None

    def wait_for_output(self, text: str, timeout_seconds: float, count: int = 1) -> None:
        """Waits until the program has written `text`, some number of times."""
        deadline = time.monotonic() + timeout_seconds
        while self.output.count(text) < count:
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.output}"
            assert self.process.poll() is None, f"ended without {text!r}:\n{self.output}"
            time.sleep(0.05)

    def processes(self) -> list[psutil.Process]:
        """Returns everything that was started and still runs."""
        return processes_of(self.tag)

    def end(self) -> None:
        """Ends whatever is left."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        self.process.wait(10)


class Program(Launched):
    """A program on ranks of this host.

    Args:
        words: What the ranks run, without the launcher.
        size: Number of ranks; 1 starts no launcher.
        cwd: Directory to run in.
        launcher: "gloo" or "mpi".
        environment: More variables.
    """

    def __init__(
        self,
        words: Sequence[str],
        size: int,
        cwd: Path,
        launcher: str = "gloo",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__([*launcher_words(launcher, size), *words], cwd, environment or {})

    def rank_processes(self) -> dict[int, psutil.Process]:
        """Returns the ranks by number: the processes that run Python with a rank."""
        ranks = {}
        for process in self.processes():
            environment = _environment(process)
            rank = environment.get("HOROVOD_RANK") or environment.get("OMPI_COMM_WORLD_RANK")
            with contextlib.suppress(psutil.Error):
                if rank is not None and "python" in Path(process.exe()).name:
                    ranks[int(rank)] = process
        return ranks


def processes_of(tag: str) -> list[psutil.Process]:
    """Returns everything that runs with a tag in its environment."""
    return [p for p in psutil.process_iter() if _environment(p).get(TAG) == tag]


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ() if process.status() != psutil.STATUS_ZOMBIE else {}
    except (psutil.Error, OSError):
        return {}


def has_mpi() -> bool:
    """Returns whether the installed Horovod has MPI and there is an mpirun."""
    import hvd_imgcls.keras as hvd

    return hvd.mpi_built() and shutil.which("mpirun") is not None


def launcher_words(launcher: str, size: int) -> list[str]:
    """Returns the words that start `size` ranks of the words after them."""
    if size == 1:
        return []
    if launcher == "gloo":
        horovodrun = [str(BIN / "horovodrun"), "--gloo", "--disable-cache", "-np", str(size)]
        return [*horovodrun, "-H", f"localhost:{size}"]
    return [
        "mpirun",
        *(["--allow-run-as-root"] if os.geteuid() == 0 else []),
        "--oversubscribe",
        "--bind-to",
        "none",
        "-np",
        str(size),
    ]


@contextlib.contextmanager
def running(
    words: Sequence[str],
    *,
    size: int,
    cwd: Path,
    launcher: str = "gloo",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Program]:
    """Starts a program and ends all of it afterwards."""
    program = Program(words, size, cwd, launcher, environment)
    try:
        yield program
    finally:
        program.end()


def hvd_imgcls(*arguments: str) -> list[str]:
    """Returns the words that run our command with this Python."""
    return [sys.executable, "-m", "hvd_imgcls", *arguments]
