"""A job: a command for a number of ranks, and how it is run once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hvd_imgcls.launcher.endings import PEER_FAILED, PEER_FAILED_GRACE_SECONDS, require_success
from hvd_imgcls.launcher.environment import for_other_hosts
from hvd_imgcls.launcher.hosts import Slot
from hvd_imgcls.launcher.keeper import GRACE_SECONDS
from hvd_imgcls.launcher.network import is_local, launcher_address
from hvd_imgcls.launcher.output import Output
from hvd_imgcls.launcher.rank_process import Ending, RankCommand, RankProcess, working_directory
from hvd_imgcls.launcher.rendezvous import RendezvousServer
from hvd_imgcls.launcher.ssh import Ssh
from hvd_imgcls.launcher.stopping import StopOrder


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What is run, besides where.

    Attributes:
        words: The command of every rank.
        environment: The launcher's variables, with those of its options.
        pass_env: Names of variables that ranks on other hosts get besides the usual ones.
        interfaces: Network interfaces for the tensors, the first that a host has is taken.
        ssh: How other hosts are reached.
        output: Directory for `rank-N.txt`; None keeps none.
        upstream_output: Directory for Horovod's `rank.N/stdout`; None keeps none.
        with_time: Whether lines of output begin with the time.
        input: Text for the standard input of every rank, None for none.
    """

    words: Sequence[str]
    environment: Mapping[str, str]
    pass_env: Sequence[str] = ()
    interfaces: Sequence[str] = ()
    ssh: Ssh = field(default_factory=Ssh)
    output: Path | None = None
    upstream_output: Path | None = None
    with_time: bool = False
    input: str | None = None


def run_once(
    job: Job,
    slots: Sequence[Slot],
    order: StopOrder,
    *,
    more_environment: Mapping[str, str] | None = None,
    at_end: Callable[[RendezvousServer], None] | None = None,
) -> None:
    """Runs a job on its ranks and waits for their end.

    Args:
        job: The job.
        slots: The places of its ranks.
        order: Ends all ranks.
        more_environment: More variables for all ranks.
        at_end: Called with the server after all ranks have ended.

    Raises:
        LaunchError: If it did not succeed.
    """
    others = [name for name in dict.fromkeys(slot.host for slot in slots) if not is_local(name)]
    # Before anything starts: these can be wrong.
    elsewhere = for_other_hosts(job.environment, job.pass_env) if others else {}
    server = RendezvousServer(launcher_address(others, job.interfaces))
    server.start(slots)
    try:
        command = RankCommand(
            words=job.words,
            directory=working_directory(),
            environment={
                **_options(job),
                **server.environment,
                **_gloo(job.interfaces),
                **(more_environment or {}),
            },
            environment_elsewhere=elsewhere,
            input=job.input,
        )
        _run_ranks(command, job, slots, others, order)
    finally:
        if at_end is not None:
            at_end(server)
        server.stop()


def _run_ranks(
    command: RankCommand, job: Job, slots: Sequence[Slot], others: Sequence[str], order: StopOrder
) -> None:
    output = Output(
        directory=job.output,
        upstream_directory=job.upstream_output,
        with_time=job.with_time,
        num_ranks=len(slots),
    )
    # A failure ends this run only; the order of the user ends also those that would follow.
    failure = StopOrder(GRACE_SECONDS)
    endings: dict[int, Ending] = {}

    def watch(process: RankProcess) -> None:
        ending = process.wait()
        endings[process.slot.rank] = ending
        if ending.exit_code == PEER_FAILED:
            failure.wait(PEER_FAILED_GRACE_SECONDS)
        if ending.exit_code != 0:
            failure.give(GRACE_SECONDS)

    processes, watching = [], []
    try:
        for slot in slots:
            ssh = job.ssh if slot.host in others else None
            processes.append(RankProcess(command, slot, ssh, output))
            failure.subscribe(processes[-1].end_within)
            order.subscribe(processes[-1].end_within)
            watching.append(threading.Thread(target=watch, args=(processes[-1],), daemon=True))
            watching[-1].start()
        for thread in watching:
            thread.join()
    except BaseException:  # Ctrl-C in a notebook
        failure.give(GRACE_SECONDS)
        for thread in watching:
            thread.join()
        raise
    finally:
        for process in processes:
            order.unsubscribe(process.end_within)
    places = {slot.rank: slot for slot in slots}
    require_success(endings, places, output.last_error, order.signal_number)


def _options(job: Job) -> dict[str, str]:
    """Variables of the launcher's own options, which the ranks of this host do not inherit."""
    return {name: text for name, text in job.environment.items() if name.startswith("HOROVOD_")}


def _gloo(interfaces: Sequence[str]) -> dict[str, str]:
    variables = {"HOROVOD_CONTROLLER": "gloo", "HOROVOD_CPU_OPERATIONS": "gloo"}
    if interfaces:
        variables["HOROVOD_GLOO_IFACE"] = ",".join(interfaces)
        variables["NCCL_SOCKET_IFNAME"] = ",".join(interfaces)
    return variables
