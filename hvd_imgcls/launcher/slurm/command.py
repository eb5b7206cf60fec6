"""The command `hvd-imgcls launch`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hvd_imgcls.errors import ConfigError, SetupError
from hvd_imgcls.launcher.endings import RESUMABLE, LaunchError, RankFailedError, require_success
from hvd_imgcls.launcher.horovodrun import DEFAULT_GRACE_SECONDS
from hvd_imgcls.launcher.hosts import assign
from hvd_imgcls.launcher.keeper import GRACE_SECONDS
from hvd_imgcls.launcher.network import is_local, launcher_address
from hvd_imgcls.launcher.output import Output
from hvd_imgcls.launcher.rendezvous import RendezvousServer
from hvd_imgcls.launcher.slurm.allocation import Allocation, read_allocation, scontrol
from hvd_imgcls.launcher.slurm.step import Step, publish_places
from hvd_imgcls.launcher.stopping import StopOrder

_NAME = "hvd-imgcls launch"
# Slurm's reason for a job that it ends, unless somebody has cancelled it.
_TIME_LIMIT = "Reason=TimeLimit"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `launch`."""
    parser.description = (
        "Starts a rank in each task of a job of Slurm, over Gloo: call it in a script of sbatch or "
        "a shell of salloc, without srun. Nodes, tasks and CPUs are those of the job. Elsewhere, "
        "use horovodrun."
    )
    parser.set_defaults(is_launcher=True)
    parser.add_argument(
        "--requeue",
        action="store_true",
        help="if the ranks were stopped and can be continued (exit code 75), put the job back in "
        "the queue with `scontrol requeue`",
    )
    parser.add_argument(
        "--grace",
        type=_seconds,
        default=DEFAULT_GRACE_SECONDS,
        metavar="SECONDS",
        help="time in which the ranks may save their state after a signal (default: 60)",
    )
    parser.add_argument(
        "--network-interface",
        metavar="NAME",
        help="network interface for the tensors; several separated by commas, of which each node "
        "takes the first that it has (default: the one towards the first other node)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="also write the output of rank N to rank-N.txt"
    )
    parser.add_argument(
        "words",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help="the command of each rank with its options, for example hvd-imgcls train digits_cnn",
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the command in every task of the job; returns the exit code."""
    words = list(arguments.words)
    if words[:1] == ["--"]:
        del words[0]
    if not words:
        raise ConfigError(
            "COMMAND",
            got="nothing",
            expected="the command of each rank",
            fix=f"add it, for example `{_NAME} hvd-imgcls train digits_cnn`",
        )
    allocation = read_allocation(os.environ)
    order = StopOrder(arguments.grace)
    try:
        _launch(arguments, words, allocation, order)
    except LaunchError as error:
        _say(str(error))
        if arguments.requeue and error.exit_code == RESUMABLE:
            _requeue(allocation.job_id, order.signal_number)
        return error.exit_code
    return 0


def _launch(
    arguments: argparse.Namespace, words: Sequence[str], allocation: Allocation, order: StopOrder
) -> None:
    """Runs a command in every task.

    Raises:
        LaunchError: If it did not succeed.
    """
    interfaces = [name for name in (arguments.network_interface or "").split(",") if name]
    slots = assign(allocation.nodes, allocation.num_tasks)
    others = [
        allocation.addresses[node.name]
        for node in allocation.nodes
        if not is_local(allocation.addresses[node.name])
    ]
    output = Output(directory=arguments.output, num_ranks=len(slots))
    if arguments.output is not None:
        _make_directory(arguments.output)
    failure = StopOrder(GRACE_SECONDS)
    order.listen()
    server = RendezvousServer(launcher_address(others, interfaces))
    server.start(slots)
    publish_places(server, slots)
    try:
        step = Step(
            words,
            allocation,
            environment_of_tasks(os.environ, server, interfaces),
            server=server,
            output=output,
        )
        order.subscribe(step.end_within)
        failure.subscribe(step.end_within)
        endings = step.wait({slot.rank: slot for slot in slots}, failure)
    finally:
        server.stop()
    if step.problems:
        rank = min(step.problems)
        raise RankFailedError(step.problems[rank], endings[rank].exit_code, slots[rank].host)
    require_success(
        endings, {slot.rank: slot for slot in slots}, output.last_error, order.signal_number
    )


def environment_of_tasks(
    environment: Mapping[str, str], server: RendezvousServer, interfaces: Sequence[str]
) -> dict[str, str]:
    """Returns the variables of all tasks: those of the job, and how ranks find each other.

    Args:
        environment: The variables of the job, which Slurm passes on.
        server: The rendezvous server.
        interfaces: Interfaces that the user has named.
    """
    more = {"HOROVOD_CONTROLLER": "gloo", "HOROVOD_CPU_OPERATIONS": "gloo"}
    if interfaces:
        more["HOROVOD_GLOO_IFACE"] = more["NCCL_SOCKET_IFNAME"] = ",".join(interfaces)
    # Otherwise, Python would keep lines back in a pipe.
    return {**environment, "PYTHONUNBUFFERED": "1", **more, **server.environment}


def _requeue(job_id: str, signal_number: int | None) -> None:
    """Puts the job back in the queue, unless somebody has cancelled it, and says so.

    Args:
        job_id: The job.
        signal_number: The signal that the launcher has received, None if there was none.
    """
    try:
        # Slurm sends SIGTERM to jobs that are cancelled, or have reached their time limit.
        if signal_number == signal.SIGTERM and _TIME_LIMIT not in scontrol(
            "--oneliner", "show", "job", job_id
        ):
            _say(f"job {job_id} was cancelled and is not put back in the queue")
            return
        _say(f"job {job_id} is put back in the queue (scontrol requeue {job_id})")
        scontrol("requeue", job_id)
    except SetupError as error:
        _say(f"error: {error}")


def _say(text: str) -> None:
    sys.stderr.write(f"{_NAME}: {text}\n")
    sys.stderr.flush()


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError(text)
    return value


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            "--output", got=str(path), expected="a directory that can be written", fix=str(error)
        ) from None
