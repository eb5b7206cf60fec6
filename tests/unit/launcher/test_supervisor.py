"""When an elastic job starts again, on which hosts, and when it fails for good."""

from __future__ import annotations

import pytest

from hvd_imgcls.errors import ConfigError, SetupError
from hvd_imgcls.launcher.elastic import supervisor
from hvd_imgcls.launcher.elastic.discovery import DiscoveryScript, FixedHosts
from hvd_imgcls.launcher.elastic.pool import HostPool
from hvd_imgcls.launcher.elastic.supervisor import Limits, Supervisor
from hvd_imgcls.launcher.endings import (
    HostLostError,
    InterruptedLaunchError,
    LaunchError,
    RankFailedError,
)
from hvd_imgcls.launcher.hosts import Host
from hvd_imgcls.launcher.stopping import StopOrder


class Found:
    """Hosts that the test changes."""

    def __init__(self, **slots):
        self.slots = slots
        self.error = False

    def find(self):
        if self.error:
            raise ConfigError("script", got=1, expected="0", fix="fix it")
        return [Host(name, number) for name, number in self.slots.items()]


class Cluster:
    """Runs what the test says, and notes on which hosts."""

    def __init__(self, found, *actions, limits=None, cooldown=(0.2, 0.8)):
        self.found = found
        self.problems = {}
        self.runs = []
        self.actions = list(actions)
        self.order = StopOrder(5.0)
        asked = lambda names: {n: p for n, p in self.problems.items() if n in names}  # noqa: E731
        self.pool = HostPool(found, asked, cooldown)
        self.supervisor = Supervisor(
            self.run, self.pool, limits or Limits(min_ranks=1, wait_seconds=5), self.order
        )

    def run(self, slots, order, num_starts):
        assert num_starts == len(self.runs)
        self.runs.append("".join(f"{slot.host}" for slot in slots))
        action = self.actions.pop(0)
        if action is not None:
            action(self, slots, order)

    def supervise(self):
        self.supervisor.supervise()
        return self.runs


@pytest.fixture(autouse=True)
def faster(monkeypatch):
    monkeypatch.setattr(supervisor, "DISCOVERY_SECONDS", 0.05)
    monkeypatch.setattr(supervisor, "STABLE_SECONDS", 0.2)
    monkeypatch.setattr(supervisor, "_BACK_OFF_SECONDS", (0.05, 0.2))


def loses(host):
    def action(cluster, slots, order):
        raise HostLostError(next(slot for slot in slots if slot.host == host), "cut")

    return action


def fails(code, host="a"):
    def action(cluster, slots, order):
        raise RankFailedError(f"rank 0 on {host} ended first", code, host)

    return action


def changes(**slots):
    """The hosts become others, and the ranks are ended with their state saved."""

    def action(cluster, run_slots, order):
        cluster.found.slots = slots
        assert order.wait(5), "the job was not ended"
        raise InterruptedLaunchError("stopped by a signal to a rank; it can be continued", 75)

    return action


def test_a_lost_host_is_left_out_and_comes_back(capsys):
    cluster = Cluster(Found(a=1, b=1), loses("b"), changes(a=1, b=1), None)
    assert cluster.supervise() == ["ab", "a", "ab"]
    assert "b cannot be reached any more (cut)" in capsys.readouterr().err


def test_a_frozen_host_is_left_out():
    assert Cluster(Found(a=1, b=1), fails(6, "b"), None).supervise() == ["ab", "a"]


def test_hosts_come_and_go():
    cluster = Cluster(Found(a=1), changes(a=1, b=2), changes(b=2), changes(b=1), None)
    assert cluster.supervise() == ["a", "abb", "bb", "b"]


def test_a_host_that_is_not_there_for_long_enough_is_not_used():
    def flaps(cluster, slots, order):
        for _ in range(3):
            cluster.found.slots = {"a": 1, "b": 1}
            assert not order.wait(0.12)
            cluster.found.slots = {"a": 1}
            assert not order.wait(0.12)

    assert Cluster(Found(a=1), flaps).supervise() == ["a"]


def test_no_more_ranks_than_allowed():
    limits = Limits(min_ranks=1, max_ranks=2, wait_seconds=5)

    def sees_more(cluster, slots, order):
        cluster.found.slots = {"a": 2, "b": 4}
        assert not order.wait(0.6)

    assert Cluster(Found(a=2), sees_more, limits=limits).supervise() == ["aa"]


def test_it_waits_for_the_minimum_and_then_gives_up(capsys):
    limits = Limits(min_ranks=2, wait_seconds=1.0)
    cluster = Cluster(Found(a=1, b=1), loses("b"), None, limits=limits)
    assert cluster.supervise() == ["ab", "ab"]
    with pytest.raises(SetupError, match="after 1 s there are 1 of 2 slots"):
        Cluster(Found(a=1), limits=limits).supervise()
    cluster = Cluster(Found(a=1, b=1), limits=limits)
    cluster.problems = {"b": "Connection refused"}
    with pytest.raises(SetupError, match="b: Connection refused"):
        cluster.supervise()
    assert "waiting for hosts: 1 of 2 slots" in capsys.readouterr().err


def test_the_first_start_waits_for_more():
    found = Found(a=1)
    limits = Limits(min_ranks=1, first_ranks=2, wait_seconds=5)
    cluster = Cluster(found, None, limits=limits)
    real, count = found.find, iter(range(100))

    def find():
        found.slots = {"a": 1} if next(count) < 4 else {"a": 1, "b": 1}
        return real()

    found.find = find
    assert cluster.supervise() == ["ab"]


@pytest.mark.parametrize("code", [2, 3, 4, 7])
def test_what_would_happen_again_is_final(code):
    with pytest.raises(LaunchError) as caught:
        Cluster(Found(a=1), fails(code)).supervise()
    assert caught.value.exit_code == code


def test_a_number_of_ranks_that_the_command_refuses_is_not_tried_again(capsys):
    """A global batch that can be divided by 4 and 2, but not by 3."""
    hosts = {"a": 2, "b": 1, "c": 1}
    cluster = Cluster(Found(**hosts), loses("b"), fails(2), changes(**hosts), None)
    assert cluster.supervise() == ["aabc", "aac", "aa", "aabc"]
    assert "starting again with another number of ranks than 3" in capsys.readouterr().err
    # Without any that works, the error is the user's.
    limits = Limits(min_ranks=3, wait_seconds=1)
    cluster = Cluster(Found(**hosts), loses("b"), fails(2), limits=limits, cooldown=(9, 9))
    with pytest.raises(SetupError, match="there are 2 of 3 slots"):
        cluster.supervise()


def test_failures_of_ranks_are_counted():
    limits = Limits(min_ranks=1, restarts=2, wait_seconds=5)
    cluster = Cluster(Found(a=1), fails(1), fails(137), fails(1), limits=limits)
    with pytest.raises(RankFailedError):
        cluster.supervise()
    assert len(cluster.runs) == 3
    # A start that lasted long begins the count anew.
    settled = Limits(min_ranks=1, restarts=1, settled_seconds=0.0, wait_seconds=5)
    assert len(Cluster(Found(a=1), *[fails(1)] * 4, None, limits=settled).supervise()) == 5


def test_all_restarts_can_be_limited():
    limits = Limits(min_ranks=1, resets=1, wait_seconds=5)
    cluster = Cluster(Found(a=1, b=1), loses("b"), loses("a"), limits=limits)
    with pytest.raises(HostLostError):
        cluster.supervise()
    assert len(cluster.runs) == 2


def test_the_user_stops_it():
    def stopped(cluster, slots, order):
        cluster.order.give(5.0)
        assert order.is_given
        raise InterruptedLaunchError("interrupted by SIGTERM; it can be continued", 75)

    with pytest.raises(InterruptedLaunchError):
        Cluster(Found(a=1), stopped).supervise()


def test_cooldowns_double_up_to_a_limit():
    now = [0.0]
    pool = HostPool(FixedHosts([Host("a", 1)]), lambda names: {}, (5, 30), lambda: now[0])
    for least in (5, 10, 20, 30, 30):
        seconds = pool.note_failure("a")
        assert least <= seconds <= least * 1.1
        now[0] += seconds - 0.01
        assert pool.usable() == []
        now[0] += 0.02
        assert pool.usable() == [Host("a", 1)]


def test_the_last_hosts_are_kept_while_discovery_fails():
    found = Found(a=1)
    pool = HostPool(found, lambda names: {})
    pool.find()
    found.error = True
    assert pool.find() == [Host("a", 1)]
    first = HostPool(found, lambda names: {})
    with pytest.raises(ConfigError):
        first.find()


SCRIPTS = {
    "exit 3": "exit code 3",
    "echo no more >&2; exit 1": "exit code 1: no more",
    "echo 'a b c'": "a b c",
    "echo a": "expected name:slots",
    "echo a:x": "expected name:slots",
    "echo 'a:1;reboot'": "expected name:slots",
    "printf 'a:1\\na:2\\n'": "each host once",
    "echo -oProxyCommand=id:1": "expected a host name",
    "head -c 100 /dev/urandom": "host-discovery-script",
}


@pytest.mark.parametrize("text", SCRIPTS)
def test_a_discovery_script_that_is_wrong_is_named(tmp_path, text):
    path = tmp_path / "hosts.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    with pytest.raises(ConfigError) as caught:
        DiscoveryScript(str(path), None).find()
    assert SCRIPTS[text] in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_discovery_script(tmp_path):
    path = tmp_path / "hosts.sh"
    path.write_text("#!/bin/sh\nprintf 'a:2\\n\\nb\\nc:0\\n'\n")
    path.chmod(0o755)
    assert DiscoveryScript(str(path), 4).find() == [Host("a", 2), Host("b", 4)]
    path.write_text("#!/bin/sh\n")
    assert DiscoveryScript(str(path), 4).find() == []
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="Permission denied"):
        DiscoveryScript(str(path), 4).find()
