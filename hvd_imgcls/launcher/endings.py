"""Which rank made a job fail: the one that is named, and the exit code of the launcher."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping

from hvd_imgcls.errors import HvdImgclsError
from hvd_imgcls.launcher.hosts import Slot
from hvd_imgcls.launcher.keeper import GRACE_SECONDS
from hvd_imgcls.launcher.rank_process import Ending

# Of docs/exit-codes.md: a rank that ends only because another one has, one without progress, and
# ranks that a signal has stopped and that can be continued.
PEER_FAILED, HANG, RESUMABLE = 5, 6, 75
# The rank that really failed may end by itself and say why.
PEER_FAILED_GRACE_SECONDS = 3.0
_KILLED = 128 + signal.SIGKILL
_CONSEQUENCES = (PEER_FAILED, 128 + signal.SIGTERM)


class LaunchError(HvdImgclsError):
    """A job did not succeed.

    Attributes:
        exit_code: Of the launcher.
        host: Name of the host on which it failed, None if it was not a host.
    """

    def __init__(self, message: str, exit_code: int, host: str | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.host = host


class RankFailedError(LaunchError):
    """A rank failed, and the others were stopped."""


class HostLostError(LaunchError):
    """A host can no longer be reached, and the ranks on others were stopped."""

    def __init__(self, slot: Slot, reason: str) -> None:
        why = f" ({reason})" if reason else ""
        super().__init__(
            f"{slot.host} cannot be reached any more{why}, rank {slot.rank} ran there; "
            "the job was stopped",
            PEER_FAILED,
            slot.host,
        )


class InterruptedLaunchError(LaunchError):
    """A signal stopped the job."""


def require_success(
    endings: Mapping[int, Ending],
    slots: Mapping[int, Slot],
    last_error: Callable[[int], str],
    signal_number: int | None,
) -> None:
    """Raises the error of a job unless all its ranks succeeded.

    Args:
        endings: How each rank ended, by its number.
        slots: The places of the ranks.
        last_error: Returns what a rank wrote about an error, if that is far above, or ''.
        signal_number: The first signal that the launcher has received, None if there was none.

    Raises:
        LaunchError: Names one rank or host, the cause, or the signal.
    """
    failures = {rank: ending for rank, ending in endings.items() if ending.exit_code != 0}
    if not failures:
        return
    if any(ending.exit_code == RESUMABLE for ending in endings.values()):
        name = _signal_name(signal_number) if signal_number else "a signal to a rank"
        how = "interrupted by" if signal_number else "stopped by"
        raise InterruptedLaunchError(f"{how} {name}; it can be continued", RESUMABLE)
    if signal_number is not None:
        text = f"interrupted by {_signal_name(signal_number)}; the job was stopped"
        raise InterruptedLaunchError(text, 128 + signal_number)
    rank = _lost(failures)
    if rank is not None:
        raise HostLostError(slots[rank], last_error(rank))
    rank = _frozen(failures)
    if rank is not None:
        host = slots[rank].host
        text = f"rank {rank} on {host} did not respond and was killed; the job was stopped"
        raise RankFailedError(text, HANG, host)
    rank = _root_cause(failures)
    said = last_error(rank)
    raise RankFailedError(
        f"rank {rank} on {slots[rank].host} ended first, {_how(failures[rank].exit_code)}; "
        f"the job was stopped{f': {said}' if said else ''}",
        failures[rank].exit_code,
        slots[rank].host,
    )


def _in_order(failures: Mapping[int, Ending]) -> list[int]:
    return sorted(failures, key=lambda rank: (failures[rank].time, rank))


def _root_cause(failures: Mapping[int, Ending]) -> int:
    """Returns the rank that made the others fail."""
    ranks = _in_order(failures)
    # What ends later than this was killed by the launcher.
    deadline = failures[ranks[0]].time + PEER_FAILED_GRACE_SECONDS + GRACE_SECONDS - 1
    for rank in ranks:
        if failures[rank].exit_code not in _CONSEQUENCES and failures[rank].time < deadline:
            return rank
    for rank in ranks:
        if failures[rank].exit_code == PEER_FAILED:
            return rank
    return ranks[0]


def _lost(failures: Mapping[int, Ending]) -> int | None:
    """Returns the first rank whose host was lost before anything but consequences of it."""
    for rank in _in_order(failures):
        if failures[rank].is_lost:
            return rank
        if failures[rank].exit_code not in _CONSEQUENCES:
            return None
    return None


def _frozen(failures: Mapping[int, Ending]) -> int | None:
    """Returns the rank for which the others waited until they gave up, None if there is none.

    It is the only one that has to be killed after they have ended.
    """
    ranks = _in_order(failures)
    first = failures[ranks[0]]
    if first.exit_code not in (PEER_FAILED, HANG):
        return None
    deadline = first.time + GRACE_SECONDS - 1
    killed = [
        rank
        for rank in ranks
        if failures[rank].exit_code == _KILLED and failures[rank].time >= deadline
    ]
    return killed[0] if len(killed) == 1 else None


def _how(exit_code: int) -> str:
    name = _signal_name(exit_code - 128)
    return f"by {name} (exit code {exit_code})" if name else f"with exit code {exit_code}"


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else ""
