"""Which ranks run where, and what is a host."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.launcher.hosts import Host, assign, parse_hostfile, parse_hosts

SLOTS = st.lists(st.integers(1, 6), min_size=1, max_size=6)


@given(SLOTS, st.data())
def test_ranks_are_placed_in_order_and_counted_in_three_ways(slots, data):
    hosts = [Host(f"h{index}", number) for index, number in enumerate(slots)]
    size = data.draw(st.integers(1, sum(slots)))
    places = assign(hosts, size)
    assert [place.rank for place in places] == list(range(size))
    assert {place.size for place in places} == {size}
    order = [host.name for host in hosts]
    assert [place.host for place in places] == sorted(
        (place.host for place in places), key=order.index
    )
    of_host = Counter(place.host for place in places)
    assert all(of_host[host.name] <= host.slots for host in hosts)
    of_local_rank = Counter(place.local_rank for place in places)
    seen: Counter[str] = Counter()
    seen_across: Counter[int] = Counter()
    for place in places:
        assert place.local_size == of_host[place.host]
        assert place.local_rank == seen[place.host]
        assert place.cross_size == of_local_rank[place.local_rank]
        assert place.cross_rank == seen_across[place.local_rank]
        seen[place.host] += 1
        seen_across[place.local_rank] += 1


@given(SLOTS)
def test_all_hosts_before_the_last_that_is_used_are_full(slots):
    hosts = [Host(f"h{index}", number) for index, number in enumerate(slots)]
    for size in range(1, sum(slots) + 1):
        used = Counter(place.host for place in assign(hosts, size))
        full = [used[host.name] == host.slots for host in hosts]
        assert sum(not is_full for is_full in full[: len(used)]) <= 1


def test_too_few_slots_say_how_many_there_are():
    with pytest.raises(ConfigError, match=r"-np: got 5, expected at most 3.*h1:1,h2:2"):
        assign([Host("h1", 1), Host("h2", 2)], 5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h1",
        "h1:0",
        "h1:-1",
        "h1:x",
        "h1:1,,h2:1",
        "h1:1;reboot",
        "-oProxyCommand=reboot:1",
        "$(reboot):1",
        "h 1:1",
        "h1\nh2:1",
        "`id`:1",
        "h1:1,h1:2",
        "h1:999999",
        "a/../b:1",
        "user@h1:1",
        "h" * 300 + ":1",
    ],
)
def test_what_is_no_list_of_hosts_is_refused(text):
    with pytest.raises(ConfigError, match="-H: got "):
        parse_hosts(text)


def test_hosts_of_a_file(tmp_path: Path):
    path = tmp_path / "hosts"
    path.write_text("# two boxes\n\nnode-1 slots=4\nnode_2:2  # slow\n10.0.0.3\n")
    assert parse_hostfile(path) == [Host("node-1", 4), Host("node_2", 2), Host("10.0.0.3", 1)]


@pytest.mark.parametrize("text", ["", "# nothing\n", "h1 slots=x\n", "h1 slots=2 max=3\n"])
def test_a_file_that_is_wrong_is_named(tmp_path: Path, text):
    path = tmp_path / "hosts"
    path.write_text(text)
    with pytest.raises(ConfigError, match=str(path)):
        parse_hostfile(path)
    with pytest.raises(ConfigError, match="missing"):
        parse_hostfile(tmp_path / "missing")
