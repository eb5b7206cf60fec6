"""What `horovodrun` does with its arguments if the ranks talk over Gloo."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from hvd_imgcls.errors import ConfigError, HvdImgclsError
from hvd_imgcls.launcher.endings import LaunchError
from hvd_imgcls.launcher.environment import for_other_hosts
from hvd_imgcls.launcher.hosts import Host, assign, parse_hostfile, parse_hosts
from hvd_imgcls.launcher.job import Job, run_once
from hvd_imgcls.launcher.network import is_local
from hvd_imgcls.launcher.ssh import Ssh, require_hosts
from hvd_imgcls.launcher.stopping import StopOrder

# Seconds in which the ranks may save their state after a signal.
DEFAULT_GRACE_SECONDS = 60.0


class Arguments(Protocol):
    """The arguments of `horovodrun` that are read here."""

    num_proc: int | None
    min_num_proc: int | None
    max_num_proc: int | None
    host_discovery_script: str | None
    hosts: str | None
    hostfile: str | None
    ssh_port: int | None
    ssh_identity_file: str | None
    nics: set[str] | None
    output: str | None
    output_filename: str | None
    prefix_output_with_timestamp: bool | None
    pass_env: Sequence[str] | None
    grace: float
    verbose: bool | None
    command: Sequence[str]


def run_command_line(arguments: Arguments, environment: Mapping[str, str]) -> int:
    """Runs the ranks of a command line; prints an error in one line.

    Args:
        arguments: The parsed command line.
        environment: The launcher's variables, with those of its options.

    Returns:
        The exit code, see docs/exit-codes.md.
    """
    try:
        run(arguments, environment)
    except LaunchError as error:
        sys.stderr.write(f"horovodrun: {error}\n")
        return error.exit_code
    except HvdImgclsError as error:
        sys.stderr.write(f"horovodrun: error: {error}\n")
        return error.exit_code
    return 0


def run(arguments: Arguments, environment: Mapping[str, str]) -> None:
    """Runs the ranks of a command line.

    Raises:
        ConfigError: If an argument is not valid.
        SetupError: If a host cannot run ranks.
        LaunchError: If the job did not succeed.
    """
    job = job_of(arguments, environment)
    if _is_elastic(arguments):
        from hvd_imgcls.launcher.elastic.command import run_elastic

        run_elastic(arguments, job, hosts_of(arguments))
        return
    if arguments.num_proc is None:
        raise _no_number()
    hosts = hosts_of(arguments)
    slots = assign(hosts, arguments.num_proc)
    order = StopOrder(arguments.grace)
    order.listen()
    used = dict.fromkeys(slot.host for slot in slots)
    require_hosts([name for name in used if not is_local(name)], job.ssh)
    run_once(job, slots, order)


def hosts_of(arguments: Arguments) -> list[Host]:
    """Returns the hosts of a command line, by default this one with a slot for each rank."""
    if arguments.hosts:
        return parse_hosts(arguments.hosts)
    if arguments.hostfile:
        return parse_hostfile(Path(arguments.hostfile))
    slots = arguments.max_num_proc or arguments.num_proc or arguments.min_num_proc or 1
    return [Host("localhost", slots)]


def job_of(arguments: Arguments, environment: Mapping[str, str]) -> Job:
    """Returns the job of a command line.

    Raises:
        ConfigError: If there is no command.
    """
    words = list(arguments.command)
    if words[:1] == ["--"]:
        del words[0]
    if not words:
        raise ConfigError(
            "the command line",
            got="no command",
            expected="the command of each rank after the options",
            fix="add it, for example `horovodrun -np 2 python train.py`",
        )
    return Job(
        words=words,
        environment=environment,
        pass_env=[name for names in arguments.pass_env or () for name in names.split(",")],
        interfaces=_interfaces(arguments.nics),
        ssh=Ssh(arguments.ssh_port, arguments.ssh_identity_file),
        output=_directory(arguments.output),
        upstream_output=_directory(arguments.output_filename),
        with_time=bool(arguments.prefix_output_with_timestamp),
    )


def _is_elastic(arguments: Arguments) -> bool:
    return arguments.host_discovery_script is not None or arguments.min_num_proc is not None


def _interfaces(named: Any) -> list[str]:
    return sorted(named) if named else []


def _directory(text: str | None) -> Path | None:
    if text is None:
        return None
    path = Path(text)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            "--output", got=text, expected="a directory that can be written", fix=str(error)
        ) from None
    return path


def check_for_mpi(arguments: Arguments) -> int:
    """Checks the hosts of a command line for mpirun, and writes them as it expects them.

    Returns:
        0, or the exit code after an error was printed.
    """
    try:
        job = job_of(arguments, os.environ)
        for_other_hosts(job.environment, job.pass_env)  # its names must be set
        if arguments.num_proc is None:
            raise _no_number()
        hosts = hosts_of(arguments)
        assign(hosts, arguments.num_proc)
        require_hosts([host.name for host in hosts if not is_local(host.name)], job.ssh)
    except HvdImgclsError as error:
        sys.stderr.write(f"horovodrun: error: {error}\n")
        return error.exit_code
    arguments.hosts = ",".join(f"{host.name}:{host.slots}" for host in hosts)
    return 0


def _no_number() -> ConfigError:
    return ConfigError(
        "-np", got=None, expected="the number of ranks", fix="give it, for example -np 2"
    )
