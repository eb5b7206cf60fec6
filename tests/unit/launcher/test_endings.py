"""Which rank is named as the one that failed, and the launcher's exit code."""

from __future__ import annotations

import pytest

from hvd_imgcls.launcher.endings import (
    HostLostError,
    InterruptedLaunchError,
    LaunchError,
    require_success,
)
from hvd_imgcls.launcher.hosts import Host, assign
from hvd_imgcls.launcher.rank_process import Ending

SLOTS = {slot.rank: slot for slot in assign([Host("h1", 2), Host("h2", 1), Host("h3", 1)], 4)}


def ended(*endings, signal_number=None, said=""):
    """Raises the error of ranks given as (exit code, seconds) or (exit code, seconds, is lost)."""
    by_rank = {
        rank: Ending(ending[0], ending[1], is_lost=len(ending) > 2)
        for rank, ending in enumerate(endings)
    }
    require_success(by_rank, SLOTS, lambda rank: said, signal_number)


def test_success_raises_nothing():
    ended((0, 1.0), (0, 2.0))
    ended((0, 1.0), (0, 2.0), signal_number=15)


@pytest.mark.parametrize(
    ("endings", "rank", "code"),
    [
        ([(0, 9.0), (3, 1.0)], 1, 3),
        # A rank that noticed first is not the one that failed.
        ([(5, 1.0), (4, 2.0)], 1, 4),
        ([(5, 1.0), (143, 1.5), (137, 2.0)], 2, 137),
        # What was killed long after is the launcher's work.
        ([(5, 1.0), (137, 9.5)], 0, 5),
        ([(143, 1.0), (143, 1.1)], 0, 143),
        ([(3, 1.0), (255, 9.0, "lost")], 0, 3),
    ],
)
def test_the_cause_is_named(endings, rank, code):
    endings = [*endings, *[(0, 9.0)] * (2 - len(endings))]
    if (5, 1.0) in endings and (137, 9.5) in endings:
        endings.append((137, 9.6))  # two that were killed: nobody was frozen
    with pytest.raises(LaunchError, match=f"rank {rank} on {SLOTS[rank].host}") as caught:
        ended(*endings)
    assert caught.value.exit_code == code
    assert caught.value.host == SLOTS[rank].host


def test_a_lost_host_is_named_and_not_those_that_notice_it():
    with pytest.raises(HostLostError, match="h2 cannot be reached any more") as caught:
        ended((5, 1.0), (143, 1.1), (255, 9.0, "lost"))
    assert caught.value.exit_code == 5
    assert caught.value.host == "h2"


def test_a_frozen_rank_is_named():
    with pytest.raises(LaunchError, match=r"rank 1 on h1 did not respond") as caught:
        ended((5, 1.0), (137, 6.0), (143, 1.5))
    assert caught.value.exit_code == 6


def test_a_signal_to_the_launcher_is_not_a_failure_of_a_rank():
    with pytest.raises(InterruptedLaunchError, match="interrupted by SIGINT; the job") as caught:
        ended((143, 1.0), (143, 1.1), signal_number=2)
    assert caught.value.exit_code == 130
    with pytest.raises(InterruptedLaunchError, match="SIGTERM; it can be continued") as caught:
        ended((75, 1.0), (75, 1.1), signal_number=15)
    assert caught.value.exit_code == 75
    with pytest.raises(InterruptedLaunchError, match="stopped by a signal to a rank") as caught:
        ended((75, 1.0), (75, 1.1))
    assert caught.value.exit_code == 75


def test_what_was_said_far_above_is_repeated():
    with pytest.raises(LaunchError, match=r"the job was stopped: a\.jpg: damaged$"):
        ended((3, 1.0), (143, 1.0), said="a.jpg: damaged")
