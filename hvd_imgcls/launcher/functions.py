"""Calls a Python function on several ranks: `hvd_imgcls.run`."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cloudpickle

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.launcher.endings import LaunchError
from hvd_imgcls.launcher.hosts import Host, assign, parse_hostfile, parse_hosts
from hvd_imgcls.launcher.job import Job, run_once
from hvd_imgcls.launcher.keeper import GRACE_SECONDS
from hvd_imgcls.launcher.network import is_local
from hvd_imgcls.launcher.rendezvous import RendezvousServer
from hvd_imgcls.launcher.ssh import Ssh, require_hosts
from hvd_imgcls.launcher.stopping import StopOrder
from hvd_imgcls.launcher.values import decode

RESULTS = "results"


class RanksFailedError(LaunchError):
    """The function raised on some rank, or a rank ended before it returned.

    Attributes:
        tracebacks: The traceback of every rank that raised, by rank.
    """

    def __init__(self, error: LaunchError, tracebacks: Mapping[int, str]) -> None:
        parts = [str(error)]
        parts += [f"rank {rank}:\n{text.rstrip()}" for rank, text in sorted(tracebacks.items())]
        super().__init__("\n\n".join(parts), error.exit_code, error.host)
        self.tracebacks = dict(tracebacks)


def run(
    function: Callable[..., Any],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    np: int = 1,
    hosts: str | None = None,
    hostfile: str | None = None,
    **options: Any,
) -> list[Any]:
    """Calls a function on several ranks, in new processes, and returns what each returned.

    The function and its arguments are sent with cloudpickle over the standard input of the
    processes, on other hosts through ssh. What it returns comes back as JSON: numbers, text,
    lists (also for tuples), dictionaries with text as keys, numpy arrays.

    Args:
        function: Called as `function(*args, **kwargs)` on every rank. It calls `hvd.init()` itself.
        args: Positional arguments.
        kwargs: Keyword arguments.
        np: Number of ranks.
        hosts: Hosts and slots, "host1:4,host2:4"; None starts all ranks here.
        hostfile: File with hosts, instead of `hosts`.
        **options: `ssh_port`, `ssh_identity_file`, `network_interfaces` (list of names), `output`
            (directory for the output of each rank), `pass_env` (names of variables for ranks on
            other hosts) and `executable` (Python of the ranks).

    Returns:
        What the function returned, by rank.

    Raises:
        ConfigError: If an argument is not valid.
        SetupError: If a host cannot run ranks.
        RanksFailedError: If the function raised or a rank failed, with the tracebacks of all.
    """
    if hosts is not None and hostfile is not None:
        raise ConfigError("hostfile", got=hostfile, expected="None with hosts", fix="give one")
    parsed = [Host("localhost", max(1, np))]
    if hosts is not None:
        parsed = parse_hosts(hosts, "hosts")
    elif hostfile is not None:
        parsed = parse_hostfile(Path(hostfile))
    pickled = cloudpickle.dumps((function, tuple(args), dict(kwargs or {})))
    job = _job(base64.b64encode(pickled).decode(), **options)
    slots = assign(parsed, np)
    require_hosts(list({slot.host for slot in slots if not is_local(slot.host)}), job.ssh)
    answers: dict[int, dict[str, Any]] = {}

    def collect(server: RendezvousServer) -> None:
        for slot in slots:
            answer = server.store.get(RESULTS, str(slot.rank))
            if answer is not None:
                answers[slot.rank] = decode(answer)

    try:
        run_once(job, slots, StopOrder(GRACE_SECONDS), at_end=collect)
    except LaunchError as error:
        tracebacks = {rank: text["error"] for rank, text in answers.items() if "error" in text}
        raise RanksFailedError(error, tracebacks) from None
    missing = [slot.rank for slot in slots if "result" not in answers.get(slot.rank, {})]
    if missing:
        ended = LaunchError(f"ranks {missing} ended before the function returned", 1)
        raise RanksFailedError(ended, {})
    return [answers[slot.rank]["result"] for slot in slots]


def _job(
    text: str,
    *,
    ssh_port: int | None = None,
    ssh_identity_file: str | None = None,
    network_interfaces: Sequence[str] | None = None,
    output: str | None = None,
    pass_env: Sequence[str] = (),
    executable: str | None = None,
) -> Job:
    return Job(
        words=[executable or sys.executable, "-m", "hvd_imgcls.launcher.function_rank"],
        environment=dict(os.environ),
        pass_env=pass_env,
        interfaces=list(network_interfaces or ()),
        ssh=Ssh(ssh_port, ssh_identity_file),
        output=None if output is None else Path(output),
        input=text,
    )
