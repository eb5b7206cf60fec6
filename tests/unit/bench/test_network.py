import os
import socket
import time

import pytest

from hvd_imgcls.bench.network import network
from hvd_imgcls.bench.network.counters import Sent, parse
from hvd_imgcls.bench.network.link import (
    Link,
    address,
    hosts_file,
    index_of_packet,
    problem_of,
)
from hvd_imgcls.bench.network.namespaces import set_up_commands
from hvd_imgcls.bench.network.programs import Program, Running
from hvd_imgcls.bench.network.ranks import rank_variables
from hvd_imgcls.bench.network.relay import Port, Relay
from hvd_imgcls.environment.topology import launched_rank_and_size
from hvd_imgcls.errors import ConfigError, SetupError

LINK = Link(num_hosts=3, rate_mbit=80, round_trip_ms=10)
# /proc/net/dev of Linux 6.18.
TABLE = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo
    lo:      10       1    0    0    0     0          0         0       10       1    0    0    0
  tun0: 1234567     891    0    0    0     0          0         0 89000001    9876    0    5    0
"""


def packet_to(host, num_bytes=100):
    header = bytes([0x45]) + bytes(15) + socket.inet_aton(address(host))
    return header + bytes(num_bytes - len(header))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"num_hosts": 1}, "hosts of the network"),
        ({"num_hosts": 5}, "hosts of the network"),
        ({"num_hosts": 2, "rate_mbit": 0.5}, "--rate"),
        ({"num_hosts": 2, "round_trip_ms": -1}, "--round-trip"),
    ],
)
def test_links_out_of_range_are_refused(values, named):
    with pytest.raises(ConfigError, match=named):
        Link(**values)


def test_rate_burst_and_queue_of_a_link():
    assert LINK.bytes_per_second == 10e6
    assert LINK.one_way_seconds == 0.005
    assert LINK.burst_bytes == 18_000
    assert LINK.queue_bytes > LINK.bytes_per_second * LINK.round_trip_ms / 1e3
    tbf = set_up_commands(1, LINK)[-1]
    assert "tbf rate 80000000bit burst 18000 limit 4000000" in tbf
    assert "10.88.0.2/24" in set_up_commands(1, LINK)[1]


def test_hosts_know_each_other_by_the_address_of_the_slow_device():
    assert hosts_file(2).splitlines() == [
        "127.0.0.1 localhost",
        "10.88.0.1 host0",
        "10.88.0.2 host1",
    ]


def test_packets_for_no_host_are_recognised():
    assert [index_of_packet(packet_to(host)) for host in range(3)] == [0, 1, 2]
    assert index_of_packet(bytes([0x60]) + bytes(60)) is None
    assert index_of_packet(b"") is None
    assert index_of_packet(bytes([0x45]) + bytes(15) + socket.inet_aton("192.168.0.1")) is None


def test_a_link_that_is_not_as_intended_is_described_by_what_came_and_what_was_expected():
    good = [0.0103, 0.0105], [9.7e6, 9.75e6]
    assert problem_of(LINK, *good) is None
    slow = problem_of(LINK, good[0], [9.7e6, 4e6])
    assert slow == "the link: got 32.0 to 77.6 Mbit/s, expected 74.4 to 81.6 Mbit/s"
    fast = problem_of(LINK, [0.0001, 0.0002], [1e9, 1e9])
    assert "got a round trip of 0.15 ms, expected 9 to 12 ms" in fast
    assert "got 8000.0 to 8000.0 Mbit/s" in fast


def test_a_port_delays_and_does_not_carry_more_than_its_link():
    port = Port(LINK)
    for _ in range(100):
        port.accept(bytes(10_000), now=1.0)
    arrivals = [time_of for time_of, _ in port.packets]
    assert arrivals[0] == pytest.approx(1.005)
    # 0.99 MB at 10.2 MB/s, of which 18 kB are a burst.
    assert arrivals[-1] == pytest.approx(1.005 + (0.99 - 0.018) / 10.2, abs=1e-6)
    port.packets.clear()
    port.accept(bytes(100), now=5.0)
    assert port.packets[0][0] == pytest.approx(5.005)


@pytest.fixture
def devices():
    # Like TUN devices, sockets of datagrams keep the boundaries of packets.
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(3)]
    for ours, theirs in pairs:
        ours.setblocking(False)
        theirs.settimeout(5)
    yield pairs
    for pair in pairs:
        for one in pair:
            one.close()


def test_the_relay_delivers_to_the_addressee_after_the_delay(devices):
    relay = Relay(LINK, [ours.fileno() for ours, _ in devices])
    requests, other = os.pipe()
    began = time.monotonic()
    devices[0][1].send(packet_to(2))
    devices[1][1].send(packet_to(0, 900))
    devices[1][1].send(b"no packet")
    assert not relay.work(requests, 0.1)
    for host, num_bytes in ((2, 100), (0, 900)):
        assert len(devices[host][1].recv(65536)) == num_bytes
    assert time.monotonic() - began >= 0.005
    assert relay.to_json()["packets"] == 2
    assert relay.to_json()["lost"] == 1
    os.write(other, b"x")
    assert relay.work(requests, 5)
    relay.reset()
    assert relay.to_json()["packets"] == 0
    os.close(requests)
    os.close(other)


def test_counters_are_those_of_the_kernel_and_tell_headers_apart():
    sent = parse(TABLE)
    assert sent == Sent(89_000_001, 9876, 5)
    assert sent.header_bytes == 9876 * 52
    assert sent.payload_bytes + sent.header_bytes == sent.num_bytes
    assert Sent.from_json(sent.to_json()) == sent
    assert sent - Sent(1, 6, 5) + Sent(1, 1) == Sent(89_000_001, 9871, 0)
    assert Sent(1_500_000, 1200, 3).describe() == "1.500 MB in 1,200 packets, 3 dropped"
    with pytest.raises(KeyError):
        parse(TABLE, "eth0")


def test_ranks_are_announced_as_by_horovodrun_one_per_host():
    variables = rank_variables(2, 4)
    assert launched_rank_and_size(variables) == (2, 4)
    assert variables["HOROVOD_HOSTNAME"] == "host2"
    assert variables["HOROVOD_GLOO_RENDEZVOUS_ADDR"] == "10.88.0.1"


def test_output_is_read_line_by_line_and_quoted_in_errors(tmp_path):
    output = tmp_path / "out.txt"
    output.write_text("one\ntw")
    program = Program(name="rank 0", host=0, command=["x"], environment={})
    running = Running(program, output)
    assert running.new_lines() == ["one"]
    output.write_text("one\ntwo\nthree\n")
    assert running.new_lines() == ["two", "three"]
    assert running.new_lines() == []
    assert not running.is_done
    running.code = 3
    assert running.is_done
    assert running.has_failed
    assert str(running.error("ended with exit code 3")) == (
        "rank 0 ended with exit code 3:\none\ntwo\nthree"
    )


def test_a_service_is_done_when_it_says_so(tmp_path):
    output = tmp_path / "out.txt"
    output.write_text("warning: not ready\n")
    service = Program(name="server", host=0, command=["x"], environment={}, is_service=True)
    running = Running(service, output)
    assert not running.is_done
    output.write_text("warning: not ready\nready\n")
    assert running.is_done
    assert not running.has_failed
    running.code = 0
    assert running.has_failed


def test_without_root_or_a_tool_the_fix_is_named(monkeypatch):
    monkeypatch.setattr(network.os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError, match=r"needs root.*user 1000(.|\n)*sudo"):
        network.SlowNetwork(LINK)
    monkeypatch.setattr(network.os, "geteuid", lambda: 0)
    monkeypatch.setattr(network.shutil, "which", lambda tool: None if tool == "tc" else tool)
    with pytest.raises(SetupError, match=r"tc is not installed(.|\n)*iproute2"):
        network.SlowNetwork(LINK)
