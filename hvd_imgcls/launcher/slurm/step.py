"""A step of Slurm with one task for each rank: `srun`, and how each rank ended."""

from __future__ import annotations

import contextlib
import ctypes
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from hvd_imgcls.errors import SetupError
from hvd_imgcls.launcher.endings import PEER_FAILED, PEER_FAILED_GRACE_SECONDS
from hvd_imgcls.launcher.hosts import Slot
from hvd_imgcls.launcher.keeper import GRACE_SECONDS
from hvd_imgcls.launcher.output import Output
from hvd_imgcls.launcher.rank_process import Ending
from hvd_imgcls.launcher.rendezvous import RendezvousServer
from hvd_imgcls.launcher.slurm.allocation import Allocation
from hvd_imgcls.launcher.slurm.task import CONNECT_SECONDS, END, ENDINGS, ORDERS, SLOTS, STARTED
from hvd_imgcls.launcher.stopping import StopOrder

_TASK = Path(__file__).with_name("task.py")
_POLL_SECONDS = 0.1
# A task that has not ended its rank long after an order is frozen, or its node is.
_FROZEN_SECONDS = 25.0
# srun itself waits for nodes that do not answer.
_SRUN_SECONDS = 15.0
_PR_SET_PDEATHSIG = 1
_KILLED = 128 + signal.SIGKILL
_NODE_FAILED = re.compile(r"srun: error: .*Node failure on ([A-Za-z0-9_.-]+)")
_TASK_FAILED = re.compile(r"srun: error: [A-Za-z0-9_.-]+: tasks? ([0-9]+)[0-9,-]*: (.+)")


class Step:
    """A running `srun`.

    Args:
        words: The command of every rank.
        allocation: Where it runs.
        environment: Variables of all tasks.
        server: Tells the tasks their places, and learns how their ranks ended.
        output: Where their output goes.

    Attributes:
        problems: What tasks said about ranks that they could not start, by rank.
    """

    def __init__(
        self,
        words: Sequence[str],
        allocation: Allocation,
        environment: Mapping[str, str],
        *,
        server: RendezvousServer,
        output: Output,
    ) -> None:
        self.problems: dict[int, str] = {}
        self._server = server
        self._num_tasks = allocation.num_tasks
        self._is_given_up = False
        self._said: list[str] = []
        try:
            self._process = subprocess.Popen(
                srun_words(words, allocation),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - only libc is called
            )
        except OSError as error:
            raise SetupError(
                f"srun cannot be run: {error.strerror}",
                fix="check that Slurm's commands are in PATH on the node that runs the script",
            ) from None
        self._copies = [
            threading.Thread(
                target=output.copy_labelled, args=(stream.fileno(), name, self._note), daemon=True
            )
            for name, stream in (("stdout", self._process.stdout), ("stderr", self._process.stderr))
            if stream is not None
        ]
        for copy in self._copies:
            copy.start()

    def end_within(self, seconds: float) -> None:
        """Asks all ranks to end; those that have not after some seconds are killed."""
        self._server.store.put(ORDERS, END, json.dumps(seconds).encode())
        threading.Thread(target=self._signal_tasks, daemon=True).start()
        kill = threading.Timer(seconds + _FROZEN_SECONDS, self._give_up)
        kill.daemon = True
        kill.start()

    def _signal_tasks(self) -> None:
        """Makes the tasks look for an order; those that start later look by themselves."""
        # Before a task has started, a signal would kill it, and srun then all others.
        deadline = time.monotonic() + CONNECT_SECONDS
        while self._num_started() < self._num_tasks and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        # srun passes it on. SIGTERM would make it kill all tasks at once.
        self._send(signal.SIGUSR1)

    def _num_started(self) -> int:
        store = self._server.store
        return sum(store.get(STARTED, str(rank)) is not None for rank in range(self._num_tasks))

    def wait(self, slots: Mapping[int, Slot], failure: StopOrder) -> dict[int, Ending]:
        """Waits for the end of all ranks and returns how each ended.

        Args:
            slots: The places of the ranks.
            failure: Given when a rank has failed: ends the others.
        """
        endings: dict[int, Ending] = {}
        while self._process.poll() is None:
            self._collect(slots, endings, failure)
            if len(endings) == len(slots):
                self._end_srun()
                break
            time.sleep(_POLL_SECONDS)
        self._collect(slots, endings, failure)
        for copy in self._copies:
            copy.join(_SRUN_SECONDS if self._is_given_up else None)
        for rank in sorted(set(slots) - set(endings)):
            endings[rank] = self._unreported(slots[rank])
        return endings

    def _collect(
        self, slots: Mapping[int, Slot], endings: dict[int, Ending], failure: StopOrder
    ) -> None:
        for rank in slots:
            text = None if rank in endings else self._server.store.get(ENDINGS, str(rank))
            if text is None:
                continue
            said = json.loads(text)
            endings[rank] = Ending(int(said["exit_code"]), time.monotonic())
            if said["problem"]:
                self.problems[rank] = str(said["problem"])
            if endings[rank].exit_code == PEER_FAILED:
                # The rank that really failed may end by itself and say why.
                timer = threading.Timer(PEER_FAILED_GRACE_SECONDS, failure.give, (GRACE_SECONDS,))
                timer.daemon = True
                timer.start()
            elif endings[rank].exit_code != 0:
                failure.give(GRACE_SECONDS)

    def _unreported(self, slot: Slot) -> Ending:
        """Returns the ending of a rank whose task has not said how it ended."""
        failed_node = next(
            (match[1] for text in self._said if (match := _NODE_FAILED.match(text))), ""
        )
        killed = next((match for text in self._said if (match := _TASK_FAILED.match(text))), None)
        is_lost = failed_node == slot.host or (not failed_node and self._is_given_up)
        # srun ends all others after the first.
        is_first = killed is None or int(killed[1]) == slot.rank
        when = time.monotonic() if is_lost or is_first else float("inf")
        return Ending(_KILLED, when, is_lost=is_lost)

    def _end_srun(self) -> None:
        try:
            self._process.wait(_SRUN_SECONDS)
        except subprocess.TimeoutExpired:
            self._give_up()
            self._process.wait()

    def _give_up(self) -> None:
        """Makes srun kill all tasks, and then kills srun."""
        if self._process.poll() is not None:
            return
        self._is_given_up = True
        self._send(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_SRUN_SECONDS)
            return
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _note(self, line: str) -> None:
        """Keeps what srun itself says about tasks and nodes."""
        if line.startswith("srun: error: "):
            self._said.append(line.strip())


def srun_words(words: Sequence[str], allocation: Allocation) -> list[str]:
    """Returns the command line of `srun`."""
    options = [
        # The ranks find each other at the launcher.
        "--mpi=none",
        f"--nodes={len(allocation.nodes)}",
        f"--ntasks={allocation.num_tasks}",
        # Ranks are numbered node by node.
        "--distribution=block",
        # With sbatch --export=NONE, tasks would get no variables.
        "--export=ALL",
        "--input=none",
        "--label",
        # A task exits with another code than 0 only if it cannot say how its rank ended.
        "--kill-on-bad-exit=1",
        "--wait=0",
    ]
    if allocation.cpus_per_task is not None:
        # Slurm 22.05 and later do not take it from the job.
        options.append(f"--cpus-per-task={allocation.cpus_per_task}")
    return ["srun", *options, sys.executable, "-S", str(_TASK), *words]


def publish_places(server: RendezvousServer, slots: Sequence[Slot]) -> None:
    """Makes the places of the ranks known to their tasks."""
    for slot in slots:
        server.store.put(SLOTS, str(slot.rank), json.dumps(slot.environment()).encode())


def _end_with_parent() -> None:
    # srun then kills its tasks.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
