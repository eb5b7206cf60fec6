"""Asks all hosts at once what they say about themselves."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hvd_imgcls.launcher.network import is_local
from hvd_imgcls.launcher.rank_process import working_directory
from hvd_imgcls.launcher.ssh import Ssh, problems_of

_ANSWER_SECONDS = 30.0
FACTS_MODULE = "hvd_imgcls.doctor.hosts.facts"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a host said.

    Attributes:
        host: Its name.
        problem: Why it said nothing, '' if it did.
        facts: See `facts.facts`.
        clock_seconds: How far its clock is ahead of this host's.
        clock_error_seconds: How uncertain that is.
    """

    host: str
    problem: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    clock_seconds: float = 0.0
    clock_error_seconds: float = 0.0


def ask(hosts: Sequence[str], ssh: Ssh, other_address: str) -> list[Answer]:
    """Returns the answer of every host.

    Args:
        hosts: Their names; this host may be one of them.
        ssh: How others are reached.
        other_address: Address of this host in the network of the run.
    """
    directory = working_directory()
    token = Path(directory) / f".hvd-imgcls-doctor-{secrets.token_hex(8)}"
    token.touch()
    try:
        problems = problems_of([host for host in hosts if not is_local(host)], ssh)

        def ask_one(host: str) -> Answer:
            if host in problems:
                return Answer(host, problems[host])
            words = words_of(FACTS_MODULE, directory, token.name, other_address)
            return _ask_one(host, words if is_local(host) else ssh.command(host, words))

        with ThreadPoolExecutor(max_workers=min(32, len(hosts))) as pool:
            return list(pool.map(ask_one, hosts))
    finally:
        token.unlink(missing_ok=True)


def words_of(module: str, *arguments: str) -> list[str]:
    """Returns the command of a module, in the Python of this process."""
    return [sys.executable, "-m", module, *arguments]


def _ask_one(host: str, command: Sequence[str]) -> Answer:
    began = time.time()
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(host, f"no answer within {_ANSWER_SECONDS:.0f} s")
    ended = time.time()
    lines = done.stdout.strip().splitlines()
    try:
        facts = json.loads(lines[-1])
    except (ValueError, IndexError):
        said = done.stderr.strip().splitlines()
        return Answer(host, said[-1] if said else f"exit code {done.returncode}")
    # It read its clock at some moment between the two, most likely at the end.
    return Answer(
        host,
        facts=facts,
        clock_seconds=facts["time"] - (began + ended) / 2,
        clock_error_seconds=(ended - began) / 2,
    )
