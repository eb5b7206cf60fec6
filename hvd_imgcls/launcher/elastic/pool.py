"""The hosts that may be used now: those that were found, without those that failed lately."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.launcher.elastic.discovery import Discovery
from hvd_imgcls.launcher.hosts import Host

DEFAULT_COOLDOWN = (5.0, 300.0)


class HostPool:
    """Hosts and their failures.

    Args:
        discovery: Finds the hosts.
        problems_of: Returns what is wrong with hosts, by name; those that can run ranks are not
            in it.
        cooldown: Seconds for which a host is left out after its first failure, and at most; they
            double with each failure.
        clock: Seconds.

    Attributes:
        problems: What is wrong with hosts that are left out, by name.
    """

    def __init__(
        self,
        discovery: Discovery,
        problems_of: Callable[[Sequence[str]], dict[str, str]],
        cooldown: tuple[float, float] = DEFAULT_COOLDOWN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._discovery = discovery
        self._problems_of = problems_of
        self._cooldown = cooldown
        self._clock = clock
        self._found: list[Host] | None = None
        self._failures: Counter[str] = Counter()
        self._usable_at: dict[str, float] = {}
        self.problems: dict[str, str] = {}

    def find(self) -> list[Host]:
        """Returns the hosts that there are. Keeps the last ones if they cannot be found out.

        Raises:
            ConfigError: If they cannot be found out the first time.
        """
        try:
            self._found = self._discovery.find()
        except ConfigError:
            if self._found is None:
                raise
        return list(self._found)

    def usable(self, known: Sequence[str] = ()) -> list[Host]:
        """Returns the hosts that can run ranks now.

        Args:
            known: Names of hosts that run ranks, which are not asked.
        """
        now = self._clock()
        resting = {name for name, moment in self._usable_at.items() if moment > now}
        hosts = [host for host in self.find() if host.name not in resting]
        found = self._problems_of([host.name for host in hosts if host.name not in known])
        for name in found:
            self.note_failure(name)
        old = {name: problem for name, problem in self.problems.items() if name in resting}
        self.problems = {**old, **found}
        return [host for host in hosts if host.name not in found]

    def note_failure(self, name: str) -> float:
        """Leaves a host out for some time; returns for how many seconds."""
        first, longest = self._cooldown
        seconds = min(longest, first * 2.0 ** self._failures[name])
        # Hosts that failed together do not all come back in the same moment.
        seconds *= random.uniform(1.0, 1.1)
        self._failures[name] += 1
        self._usable_at[name] = self._clock() + seconds
        return seconds
