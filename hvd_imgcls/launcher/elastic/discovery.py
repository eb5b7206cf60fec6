"""Which hosts there are now: a fixed list, or what a script of the user prints."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Protocol

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.launcher.hosts import Host, parse_hosts, require_once

_SCRIPT_SECONDS = 20.0
OPTION = "--host-discovery-script"


class Discovery(Protocol):
    """Finds hosts."""

    def find(self) -> list[Host]:
        """Returns the hosts that there are now, in the order in which ranks are placed.

        Raises:
            ConfigError: If they cannot be found out.
        """


class FixedHosts:
    """Hosts of the command line.

    Args:
        hosts: The hosts.
    """

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._hosts = list(hosts)

    def find(self) -> list[Host]:
        """Returns the hosts."""
        return list(self._hosts)


class DiscoveryScript:
    """A script that prints a host per line, `name` or `name:slots`.

    Args:
        path: The script, run without a shell.
        slots: Slots of a host without a number; None requires one.
    """

    def __init__(self, path: str, slots: int | None) -> None:
        self._path = path
        self._slots = slots

    def find(self) -> list[Host]:
        """Runs the script. A host with 0 slots is left out."""
        try:
            done = subprocess.run(
                [self._path],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SCRIPT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self._error(f"no end within {_SCRIPT_SECONDS:.0f} s") from None
        except OSError as error:
            raise self._error(error.strerror or str(error)) from None
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()
            raise self._error(f"exit code {done.returncode}{f': {said[-1]}' if said else ''}")
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        hosts = [self._host(line) for line in lines if not line.endswith(":0")]
        if hosts:
            require_once(hosts, f"{OPTION} {self._path}")
        return hosts

    def _host(self, line: str) -> Host:
        return parse_hosts(line, f"{OPTION} {self._path}", self._slots)[0]

    def _error(self, got: str) -> ConfigError:
        return ConfigError(
            f"{OPTION} {self._path}",
            got=got,
            expected="a host per line, name:slots, and exit code 0",
            fix="run the script by hand and correct it",
        )
