"""Starts a job again when a host fails, leaves or comes."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hvd_imgcls.errors import SetupError
from hvd_imgcls.launcher.elastic.pool import HostPool
from hvd_imgcls.launcher.endings import HANG, HostLostError, LaunchError
from hvd_imgcls.launcher.hosts import Host, Slot, assign
from hvd_imgcls.launcher.stopping import StopOrder

# How often the hosts are looked for, and how long new ones must stay before they are used.
DISCOVERY_SECONDS = 1.0
STABLE_SECONDS = 2.0
_BACK_OFF_SECONDS = (1.0, 30.0)
# Of docs/exit-codes.md: usage, data, checkpoint files, NaN. The same happens again.
_USAGE, _FINAL = 2, (2, 3, 4, 7)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How often and with how many ranks a job is started.

    Attributes:
        min_ranks: With fewer slots, the job waits.
        max_ranks: More slots are not used; None uses all.
        first_ranks: Slots to wait for before the first start.
        restarts: Failures of ranks after which the job fails. A start that lasted for
            `settled_seconds` begins the count anew.
        resets: Restarts for any reason; None does not limit them.
        wait_seconds: How long to wait for `min_ranks` slots.
        settled_seconds: See `restarts`.
    """

    min_ranks: int
    max_ranks: int | None = None
    first_ranks: int | None = None
    restarts: int = 3
    resets: int | None = None
    wait_seconds: float = 600.0
    settled_seconds: float = 600.0


class Supervisor:
    """Runs a job until it succeeds, fails for good or is stopped.

    Args:
        run: Runs the job once on slots, ends it at an order, and raises LaunchError. Its last
            argument is how many times it was called before.
        pool: The hosts.
        limits: How often and with how many ranks.
        order: Of the user, to end everything.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Slot], StopOrder, int], None],
        pool: HostPool,
        limits: Limits,
        order: StopOrder,
    ) -> None:
        self._run = run
        self._pool = pool
        self._limits = limits
        self._order = order
        self._num_failures = 0
        self._num_resets = 0
        self._change = ""
        # Numbers of ranks with which the command did and did not begin.
        self._possible: set[int] = set()
        self._impossible: set[int] = set()

    def supervise(self) -> None:
        """Runs the job.

        Raises:
            LaunchError: If it failed for good or was stopped.
            ConfigError: If the hosts cannot be found out the first time.
            SetupError: If there were too few hosts for too long.
        """
        needed = self._limits.first_ranks or self._limits.min_ranks
        while True:
            slots = self._wait_for_slots(needed)
            needed = self._limits.min_ranks
            began = time.monotonic()
            try:
                self._run_watched(slots)
            except LaunchError as error:
                lasted = time.monotonic() - began
                if self._order.is_given or not self._may_continue(error, len(slots), lasted):
                    raise
            else:
                return

    def _run_watched(self, slots: Sequence[Slot]) -> None:
        """Runs the job once, and ends it so that it can be continued when the hosts change."""
        self._change = ""
        order = StopOrder(self._order.grace, parent=self._order)
        done = threading.Event()
        watching = threading.Thread(target=self._watch, args=(slots, order, done), daemon=True)
        watching.start()
        try:
            self._run(slots, order, self._num_resets)
        finally:
            done.set()
            watching.join()
            order.detach()

    def _watch(self, slots: Sequence[Slot], order: StopOrder, done: threading.Event) -> None:
        used = Counter(slot.host for slot in slots)
        better_since: float | None = None
        while not done.wait(DISCOVERY_SECONDS):
            found = {host.name: host.slots for host in self._pool.find()}
            gone = [name for name, number in used.items() if found.get(name, 0) < number]
            if gone:
                self._change = f"{', '.join(gone)} will be removed or has fewer slots"
                order.give(self._order.grace)
                return
            if len(slots) == self._limits.max_ranks:
                continue  # others would not be used, and need not be asked
            usable = self._pool.usable(known=list(used))
            if self._num_ranks(usable) <= len(slots):
                better_since = None
            elif better_since is None:
                better_since = time.monotonic()
            elif time.monotonic() - better_since >= STABLE_SECONDS:
                new = [host.name for host in usable if host.name not in used]
                self._change = f"{', '.join(new) or 'more slots'} can be used"
                order.give(self._order.grace)
                return

    def _may_continue(self, error: LaunchError, num_ranks: int, lasted: float) -> bool:
        """Decides whether a job that ended is started again, says so, and waits a little."""
        self._num_resets += 1
        if error.exit_code != _USAGE:
            self._possible.add(num_ranks)
        elif self._possible - {num_ranks}:
            # For example, a global batch that cannot be divided by 3.
            self._impossible.add(num_ranks)
            _say(f"{error}; starting again with another number of ranks than {num_ranks}")
            return True
        if self._limits.resets is not None and self._num_resets > self._limits.resets:
            return False
        if self._change:
            _say(f"{self._change}; starting again")
            return True
        if error.exit_code in _FINAL:
            return False
        host = error.host
        if isinstance(error, HostLostError) or (host is not None and error.exit_code == HANG):
            seconds = self._pool.note_failure(str(host))
            _say(f"{error}; starting again without {host} for {seconds:.0f} s")
            return True
        return self._may_fail_again(error, lasted)

    def _may_fail_again(self, error: LaunchError, lasted: float) -> bool:
        """Counts a failure of a rank, and waits a little if there may be another one."""
        self._num_failures = 1 if lasted > self._limits.settled_seconds else self._num_failures + 1
        if self._num_failures > self._limits.restarts:
            return False
        first, longest = _BACK_OFF_SECONDS
        pause = min(longest, first * 2 ** (self._num_failures - 1))
        count = f"{self._num_failures} of {self._limits.restarts}"
        _say(f"{error}; starting again in {pause:.0f} s ({count})")
        return not self._order.wait(pause)

    def _wait_for_slots(self, needed: int) -> list[Slot]:
        deadline = time.monotonic() + self._limits.wait_seconds
        has_said = False
        while True:
            usable = self._pool.usable()
            num_ranks = self._num_ranks(usable)
            if num_ranks >= needed:
                return assign(usable, num_ranks)
            if self._order.is_given:
                number = self._order.signal_number or 0
                raise LaunchError("interrupted while waiting for hosts", 128 + number)
            have = f"{num_ranks} of {needed} slots{_listed(self._pool.problems)}"
            if time.monotonic() > deadline:
                raise SetupError(
                    f"after {self._limits.wait_seconds:.0f} s there are {have}",
                    fix="add hosts, lower --min-np, or wait longer with --elastic-timeout",
                )
            if not has_said:
                _say(f"waiting for hosts: {have}")
                has_said = True
            self._order.wait(DISCOVERY_SECONDS)

    def _num_ranks(self, hosts: Sequence[Host]) -> int:
        available = sum(host.slots for host in hosts)
        most = min(available, self._limits.max_ranks or available)
        possible = set(range(self._limits.min_ranks, most + 1)) - self._impossible
        return max(possible, default=min(most, self._limits.min_ranks - 1))


def _listed(problems: dict[str, str]) -> str:
    return "".join(f"; {host}: {problem}" for host, problem in problems.items())


def _say(text: str) -> None:
    sys.stderr.write(f"horovodrun: {text}\n")
    sys.stderr.flush()
