"""Elastic runs from the command line of `horovodrun`."""

from __future__ import annotations

import functools
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.launcher.elastic.discovery import Discovery, DiscoveryScript, FixedHosts
from hvd_imgcls.launcher.elastic.pool import DEFAULT_COOLDOWN, HostPool
from hvd_imgcls.launcher.elastic.ranks import DIRECTORY, JOB, RESTART
from hvd_imgcls.launcher.elastic.supervisor import Limits, Supervisor
from hvd_imgcls.launcher.hosts import Host, Slot
from hvd_imgcls.launcher.job import Job, run_once
from hvd_imgcls.launcher.network import is_local
from hvd_imgcls.launcher.rank_process import working_directory
from hvd_imgcls.launcher.ssh import problems_of
from hvd_imgcls.launcher.stopping import StopOrder


def run_elastic(arguments: Any, job: Job, hosts: list[Host]) -> None:
    """Runs a job with as many ranks as there are slots, and again when that changes.

    Args:
        arguments: The parsed command line of `horovodrun`.
        job: Its job.
        hosts: Its hosts, if it has no discovery script.

    Raises:
        ConfigError: If an argument is not valid.
        SetupError: If there were too few hosts for too long.
        LaunchError: If the job failed for good or was stopped.
    """
    limits = _limits(arguments)
    discovery: Discovery = FixedHosts(hosts)
    if arguments.host_discovery_script is not None:
        path = os.path.abspath(arguments.host_discovery_script)
        discovery = DiscoveryScript(path, arguments.slots)
    pool = HostPool(discovery, functools.partial(_problems_of, job), _cooldown(arguments))
    pool.find()  # raises an error for a script that does not work
    order = StopOrder(arguments.grace)
    order.listen()
    given, name = job.environment.get(DIRECTORY), secrets.token_hex(8)
    directory = Path(given or f"{working_directory()}/.elastic-{name}")

    def run(slots: Sequence[Slot], order: StopOrder, num_starts: int) -> None:
        more = {DIRECTORY: str(directory), JOB: name, RESTART: str(num_starts)}
        run_once(job, slots, order, more_environment=more)

    Supervisor(run, pool, limits, order).supervise()
    if given is None:
        # After a success, nobody needs the commits.
        shutil.rmtree(directory, ignore_errors=True)


def _problems_of(job: Job, names: Any) -> dict[str, str]:
    return problems_of([name for name in names if not is_local(name)], job.ssh)


def _limits(arguments: Any) -> Limits:
    min_ranks = arguments.min_num_proc or arguments.num_proc or 1
    max_ranks, first_ranks = arguments.max_num_proc, arguments.num_proc
    if max_ranks is not None and max_ranks < max(min_ranks, first_ranks or 0):
        raise ConfigError(
            "--max-np",
            got=max_ranks,
            expected=f"at least {max(min_ranks, first_ranks or 0)}, of --min-np and -np",
            fix="raise it, or lower the others",
        )
    if first_ranks is not None and first_ranks < min_ranks:
        raise ConfigError(
            "-np", got=first_ranks, expected=f"at least --min-np, {min_ranks}", fix="raise it"
        )
    seconds = arguments.elastic_timeout or os.environ.get("HOROVOD_ELASTIC_TIMEOUT") or 600
    return Limits(
        min_ranks=min_ranks,
        max_ranks=max_ranks,
        first_ranks=first_ranks,
        restarts=arguments.restarts,
        resets=arguments.reset_limit,
        wait_seconds=float(seconds),
    )


def _cooldown(arguments: Any) -> tuple[float, float]:
    if arguments.cooldown_range is None:
        return DEFAULT_COOLDOWN
    first, longest = arguments.cooldown_range
    if not 0 < first <= longest:
        raise ConfigError(
            "--blacklist-cooldown-range",
            got=[first, longest],
            expected="two positive numbers, the first not above the second",
            fix="for example --blacklist-cooldown-range 5 300",
        )
    return float(first), float(longest)
