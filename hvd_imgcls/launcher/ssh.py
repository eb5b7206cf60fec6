"""Commands on other hosts over ssh, and why one does not answer.

Host keys are checked as the user's configuration of ssh says. Nothing asks for a password.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hvd_imgcls.errors import SetupError

CONNECT_SECONDS = 10
# A host that does not answer for this long is lost: 3 unanswered messages, one every 5 s.
_ALIVE_SECONDS, _ALIVE_COUNT = 5, 3
_CHECK_SECONDS = 14.0
SSH_FAILED = 255
_KEEPER = Path(__file__).with_name("keeper.py")
_CANNOT_EXECUTE, _NOT_FOUND = 126, 127


@dataclass(frozen=True, slots=True)
class Ssh:
    """How other hosts are reached.

    Attributes:
        port: Port of the ssh servers; None leaves it to the user's configuration.
        identity_file: Private key; None leaves it to the user's configuration.
    """

    port: int | None = None
    identity_file: str | None = None

    def command(self, host: str, words: Sequence[str]) -> list[str]:
        """Returns the local command that runs words on a host.

        Args:
            host: A validated name.
            words: The words, which arrive as they are.
        """
        options = ["-T", "-x", "-e", "none", "-o", "BatchMode=yes"]
        options += ["-o", f"ConnectTimeout={CONNECT_SECONDS}"]
        options += ["-o", f"ServerAliveInterval={_ALIVE_SECONDS}"]
        options += ["-o", f"ServerAliveCountMax={_ALIVE_COUNT}"]
        # A shared connection would not notice by itself that the host is gone.
        options += ["-o", "ControlMaster=no", "-o", "ControlPath=none"]
        if self.port is not None:
            options += ["-p", str(self.port)]
        if self.identity_file is not None:
            options += ["-i", self.identity_file]
        return ["ssh", *options, "--", host, "exec " + shlex.join(words)]


def keeper_words() -> list[str]:
    """Returns the command that keeps a rank, on this host and on others."""
    return [sys.executable, "-S", str(_KEEPER)]


def require_hosts(hosts: Sequence[str], ssh: Ssh) -> None:
    """Raises one error that names every host that cannot run ranks, and says why.

    Args:
        hosts: Names of other hosts.
        ssh: How they are reached.

    Raises:
        SetupError: If a host cannot be reached, or has no Python or launcher where this one has.
    """
    problems = problems_of(hosts, ssh)
    if problems:
        listed = "\n".join(f"  {host}: {problem}" for host, problem in problems.items())
        raise SetupError(
            f"these hosts cannot run ranks:\n{listed}",
            fix="make `ssh HOST true` work without a password for each of them, and set up "
            "hvd_imgcls there in the same directory",
        )


def problems_of(hosts: Sequence[str], ssh: Ssh) -> dict[str, str]:
    """Asks hosts in parallel and returns what is wrong, by host; empty if all can run ranks."""
    if not hosts:
        return {}
    with ThreadPoolExecutor(max_workers=min(32, len(hosts))) as pool:
        found = pool.map(lambda host: _problem_of(host, ssh), hosts)
        return {host: problem for host, problem in zip(hosts, found, strict=True) if problem}


def _problem_of(host: str, ssh: Ssh) -> str:
    try:
        done = subprocess.run(
            ssh.command(host, [*keeper_words(), "--check"]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_CHECK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_CHECK_SECONDS:.0f} s"
    except FileNotFoundError:
        return "ssh is not installed on this host"
    lines = done.stderr.strip().splitlines()
    last = lines[-1].strip() if lines else ""
    if done.returncode == 0:
        return ""
    if done.returncode == SSH_FAILED:
        return last or "ssh failed and did not say why"
    if done.returncode in (_NOT_FOUND, _CANNOT_EXECUTE):
        return f"{sys.executable} cannot be run there ({last})"
    return f"{_KEEPER} cannot be run there ({last})"
