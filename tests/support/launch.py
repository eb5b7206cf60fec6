"""Runs a function on several real Horovod ranks and returns what each rank returned.

`run_on_ranks(function, size=2)` is all that tests need. One rank and two ranks are kept
between calls, so TensorFlow starts once per size and not once per test; a call that
fails, hangs or asks for `fresh=True` gets new processes. Asserts belong in the parent.

The processes are started as horovodrun starts them (its rendezvous server, its
environment), each in a session of its own, so that everything is gone at the end.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hvd_imgcls.launcher.hosts import Host, Slot, assign
from hvd_imgcls.launcher.rendezvous import RendezvousServer

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120
# Every rank that waits keeps a TensorFlow in memory: others than these are ended.
KEPT_SIZES = (1, 2)


class RankError(AssertionError):
    """A rank raised, ended or did not answer in time. The message has every rank's output."""

    def __init__(self, message: str, ranks: Sequence[_Rank]) -> None:
        self.returncodes = [rank.process.poll() for rank in ranks]
        self.outputs = [rank.output() for rank in ranks]
        tails = [
            f"--- rank {index}, exit code {code}, last lines:\n{_tail(output)}"
            for index, (code, output) in enumerate(zip(self.returncodes, self.outputs, strict=True))
        ]
        super().__init__("\n".join([message, *tails]))


def run_on_ranks(
    function: Callable[..., Any],
    size: int = 2,
    *,
    arguments: Sequence[Any] = (),
    timeout_seconds: float = 120,
    fresh: bool = False,
    environment: dict[str, str] | None = None,
) -> list[Any]:
    """Calls `function(*arguments)` on every rank and returns the results by rank.

    Args:
        function: A module-level function of a test module. What it returns is pickled.
        size: Number of ranks.
        arguments: Passed to the function on every rank.
        timeout_seconds: For this call, without the start of the processes.
        fresh: New processes that are ended afterwards, for functions that leave a mess.
        environment: More variables; implies `fresh`.

    Raises:
        RankError: If a rank raised, ended or was too slow. Its processes are gone then.
    """
    if fresh or environment or size not in KEPT_SIZES:
        pool = _Pool(size, environment or {})
        try:
            return pool.call(function, arguments, timeout_seconds)
        finally:
            pool.end()
    pool = _pools.get(size) or _Pool(size, {})
    _pools[size] = pool
    try:
        return pool.call(function, arguments, timeout_seconds)
    except BaseException:
        del _pools[size]
        pool.end()
        raise


_pools: dict[int, _Pool] = {}


@dataclasses.dataclass
class _Rank:
    process: subprocess.Popen[bytes]
    requests: int
    answers: int
    log: Path

    def output(self) -> str:
        return self.log.read_text(errors="replace")


class _Pool:
    """`size` waiting ranks."""

    def __init__(self, size: int, environment: dict[str, str]) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="ranks-")
        self._server = RendezvousServer("127.0.0.1")
        slots = assign([Host("localhost", size)], size)
        self._server.start(slots)
        self.ranks = [self._start(slot, environment) for slot in slots]
        self._wait_for_answers(START_SECONDS, "starting")

    def _start(self, slot: Slot, environment: dict[str, str]) -> _Rank:
        child_reads, parent_writes = os.pipe()
        parent_reads, child_writes = os.pipe()
        log = Path(self._directory.name) / f"rank-{slot.rank}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.rank", str(child_reads), str(child_writes)],
                cwd=ROOT,
                env={**os.environ, **rank_environment(slot, self._server), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(child_reads, child_writes),
                start_new_session=True,
            )
        os.close(child_reads)
        os.close(child_writes)
        return _Rank(process, parent_writes, parent_reads, log)

    def call(
        self, function: Callable[..., Any], arguments: Sequence[Any], timeout_seconds: float
    ) -> list[Any]:
        request = pickle.dumps((function.__module__, function.__qualname__, tuple(arguments)))
        for rank in self.ranks:
            with contextlib.suppress(BrokenPipeError):  # its exit code is reported below
                os.write(rank.requests, struct.pack("<Q", len(request)) + request)
        return self._wait_for_answers(timeout_seconds, function.__qualname__)

    def _wait_for_answers(self, timeout_seconds: float, what: str) -> list[Any]:
        deadline = time.monotonic() + timeout_seconds
        answers: dict[int, Any] = {}
        waiting = {rank.answers: index for index, rank in enumerate(self.ranks)}
        while waiting:
            ready, _, _ = select.select(list(waiting), [], [], max(0, deadline - time.monotonic()))
            if not ready:
                silent = sorted(waiting.values())
                raise RankError(
                    f"{what}: ranks {silent} silent for {timeout_seconds} s", self.ranks
                )
            for descriptor in ready:
                index = waiting.pop(descriptor)
                kind, value = _read_answer(descriptor)
                if kind != "result":
                    self._let_the_others_finish()
                    raise RankError(f"{what}: rank {index} {kind}: {value}", self.ranks)
                answers[index] = value
        return [answers[index] for index in range(len(self.ranks))]

    def _let_the_others_finish(self) -> None:
        """Gives the other ranks a moment to say what they saw, for the report."""
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            if all(rank.process.poll() is not None for rank in self.ranks):
                return
            time.sleep(0.05)

    def end(self) -> None:
        """Ends the ranks and everything they started."""
        for rank in self.ranks:
            os.close(rank.requests)
        deadline = time.monotonic() + 5
        for rank in self.ranks:
            with contextlib.suppress(subprocess.TimeoutExpired):
                rank.process.wait(max(0, deadline - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(rank.process.pid, signal.SIGKILL)
            rank.process.wait()
            os.close(rank.answers)
        self._server.stop()
        self._directory.cleanup()


def rank_environment(slot: Slot, server: RendezvousServer) -> dict[str, str]:
    """Returns what horovodrun --gloo tells a rank on one host, and one thread for each."""
    return {
        **slot.environment(),
        **server.environment,
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_IFACE": "lo",
        # A test whose ranks wait for each other says for what.
        "HOROVOD_STALL_CHECK_TIME_SECONDS": "20",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "2",
        "OMP_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONUNBUFFERED": "1",
    }


def _read_answer(descriptor: int) -> tuple[str, Any]:
    header = _read_exactly(descriptor, 8)
    if header is None:
        return "ended", "before it answered"
    body = _read_exactly(descriptor, struct.unpack("<Q", header)[0])
    if body is None:
        return "ended", "while it answered"
    kind, value = pickle.loads(body)
    return kind, value


def _read_exactly(descriptor: int, length: int) -> bytes | None:
    received = b""
    while len(received) < length:
        piece = os.read(descriptor, length - len(received))
        if not piece:
            return None
        received += piece
    return received


def _tail(text: str, lines: int = 50) -> str:
    return "\n".join(text.splitlines()[-lines:])


@atexit.register
def end_all_ranks() -> None:
    """Ends all kept ranks."""
    for size in list(_pools):
        _pools.pop(size).end()
