"""A simulated slow network: what it carries, what is refused, and that nothing of it remains."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hvd_imgcls import cli
from hvd_imgcls.bench.measuring.launching import launcher
from hvd_imgcls.bench.network.link import Link
from hvd_imgcls.bench.network.network import TOOLS, SlowNetwork
from hvd_imgcls.bench.network.preflight import require_as_intended
from hvd_imgcls.bench.network.programs import Program
from hvd_imgcls.errors import HvdImgclsError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0
        or not os.path.exists("/dev/net/tun")
        or not all(shutil.which(tool) for tool in TOOLS),
        reason="needs root, iproute2 and /dev/net/tun",
    ),
]

LINK = Link(num_hosts=3, rate_mbit=50, round_trip_ms=20)
MARK = "SLOW_NETWORK_TEST"


def program(host, script, name=None):
    environment = {**os.environ, MARK: "1"}
    command = [sys.executable, "-c", script]
    return Program(name=name or f"p{host}", host=host, command=command, environment=environment)


def marked():
    """Processes with the mark in their environment, other than this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"{MARK}=1".encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
    return found


def network_namespaces():
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(path))
    return found


def state_of_this_machine():
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    return {
        "links": [line.split(":")[1] for line in links.splitlines()],
        "routes": routes,
        "host": socket.gethostname(),
        "hosts": Path("/etc/hosts").read_bytes(),
        "namespaces": network_namespaces(),
        "folders": set(Path("/tmp").glob("hvd-imgcls-network-*")),
    }


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


SENDING = """
import socket, sys
data = socket.create_connection(("host1", 9000))
data.sendall(bytes(1_000_000))
data.shutdown(socket.SHUT_WR)
assert data.recv(1) == b""
"""
RECEIVING = """
import socket
server = socket.create_server(("0.0.0.0", 9000))
data, peer = server.accept()
received = 0
while part := data.recv(65536):
    received += len(part)
print(socket.gethostname(), peer[0], received)
"""


def test_link_has_the_round_trip_and_rate_and_its_devices_count():
    before = state_of_this_machine()
    lines = []
    with SlowNetwork(LINK) as network:
        measured = require_as_intended(network)
        assert 0.018 <= measured.round_trip_seconds <= 0.023
        assert 46.5e6 / 8 <= measured.bytes_per_second <= 51e6 / 8
        receiver = program(1, RECEIVING)
        sender = program(0, "import time; time.sleep(1)" + SENDING)
        sent = network.run([receiver, sender], 60, lambda _, line: lines.append(line))
        assert lines == ["host1 10.88.0.1 1000000"]
        assert 1_000_000 <= sent[0].payload_bytes <= 1_001_000
        assert 1_005_000 <= sent[0].num_bytes <= 1_015_000
        assert sent[1].payload_bytes < 1000
        assert (sent[2].num_bytes, sent[2].num_packets) == (0, 0)
        assert max(one.num_dropped for one in sent) == 0
        # The machine's own network cannot be reached from there, nor its devices be seen.
        devices = program(2, "import socket; print([name for _, name in socket.if_nameindex()])")
        network.run([devices], 30, lambda _, line: lines.append(line))
        assert lines[-1] == "['lo', 'tun0']"
        outside = program(2, "import socket; socket.create_connection(('192.0.2.1', 80), 2)")
        with pytest.raises(HvdImgclsError, match="Network is unreachable"):
            network.run([outside], 30)
    assert state_of_this_machine() == before


def test_network_that_is_not_as_intended_is_refused(monkeypatch):
    monkeypatch.setattr("hvd_imgcls.bench.network.preflight._TRIES", 1)
    with SlowNetwork(LINK) as network:
        network.link = Link(num_hosts=3, rate_mbit=100, round_trip_ms=10)
        expected = r"got a round trip of 2\d.* expected 9 to 12 ms; .* expected 93 to 102 Mbit/s"
        with pytest.raises(HvdImgclsError, match=expected):
            require_as_intended(network)


def test_failed_programs_are_named_and_the_others_ended():
    with SlowNetwork(LINK) as network:
        waiting = program(0, "import time; time.sleep(1000)")
        failing = program(1, "raise SystemExit('no such weights')", "rank 1")
        with pytest.raises(
            HvdImgclsError, match=r"rank 1 ended with exit code 1:\nno such weights"
        ):
            network.run([waiting, failing], 60)
        assert marked() == []
        missing = Program(name="p2", host=2, command=["no-such-program"], environment={})
        with pytest.raises(HvdImgclsError, match=r"p2 ended with exit code 127:\n.*No such file"):
            network.run([missing], 60)
        with pytest.raises(HvdImgclsError, match="p0 did not end in time"):
            network.run([waiting], 1)
        assert marked() == []


PARENT = """
import os, sys
from hvd_imgcls.bench.network.link import Link
from hvd_imgcls.bench.network.network import SlowNetwork
from hvd_imgcls.bench.network.programs import Program

# With a child of its own, which outlives it.
sleeping = "import subprocess; subprocess.run(['sleep', '999'])"
with SlowNetwork(Link(num_hosts=2)) as network:
    network.run(
        [
            Program(name=f"p{host}", host=host, command=[sys.executable, "-c", sleeping],
                    environment=dict(os.environ))
            for host in range(2)
        ],
        900,
    )
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_remains_of_a_killed_program(number):
    before = state_of_this_machine()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        env={**os.environ, MARK: "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # The parent, `unshare`, the network, and two programs with a child each.
    wait_until(lambda: len(marked()) == 7)
    assert len(network_namespaces() - before["namespaces"]) == 2
    parent.send_signal(number)
    parent.wait(30)
    wait_until(lambda: not marked())
    wait_until(lambda: state_of_this_machine() == before)


@pytest.mark.ranks(2)
def test_allreduce_on_a_simulated_network_and_what_is_sent(tmp_path):
    out, page = tmp_path / "numbers.json", tmp_path / "page.html"
    options = ["--ranks", "2", "--rate", "200", "--round-trip", "5", "--pairs", "1"]
    words = [*options, "--largest", "1", "--out", str(out), "--plot", str(page)]
    assert cli.main(["bench", "allreduce", *words]) == 0
    results = json.loads(out.read_text())["results"]["2 ranks"]
    assert results["hosts"] == 2
    assert results["link"]["round trip seconds"] == pytest.approx(0.005, abs=0.0015)
    small, large = results["sizes"][0], results["sizes"][-1]
    # It cannot be faster than the link.
    assert small["seconds"]["ours"] >= 0.005
    assert large["bytes"] == 1 << 20
    assert large["bus bandwidth"]["ours"] < 1.02 * 200e6 / 8
    assert all(host["bytes"] > 2 * large["bytes"] for host in results["sent by hosts"])
    assert "Bus bandwidth" in page.read_text()


@pytest.mark.ranks(2)
def test_bytes_of_a_step_are_those_of_the_ring(tmp_path):
    out = tmp_path / "numbers.json"
    options = ["--ranks", "2", "--rate", "200", "--round-trip", "5", "--pairs", "1"]
    assert cli.main(["bench", "bytes", *options, "--out", str(out)]) == 0
    ways = json.loads(out.read_text())["results"]["2 ranks"]["ways"]
    assert ways["none"]["payload"] == pytest.approx(1.0, abs=0.005)
    assert ways["fp16"]["payload"] == pytest.approx(0.5, abs=0.005)
    assert 0.005 < ways["none"]["headers"] < 0.02


@pytest.mark.ranks(2)
@pytest.mark.timeout(900)
def test_compression_is_chosen_where_it_pays(tmp_path):
    """44.7 MB of gradients over 100 Mbit/s: what is sent takes most of the step."""
    out = tmp_path / "numbers.json"
    options = ["--ranks", "2", "--rate", "100", "--round-trip", "10", "--pairs", "1"]
    words = [*options, "--compute", "0.2", "--ways", "none", "auto", "--out", str(out)]
    assert cli.main(["bench", "slow-network", *words]) == 0
    arms = json.loads(out.read_text())["results"]["2 ranks"]["arms"]
    assert arms["auto"]["compression"] == "int8"
    assert "compression" not in arms["none"]
    assert arms["auto"]["seconds"][0] < 0.7 * arms["none"]["seconds"][0]


@pytest.mark.ranks(2)
def test_allreduce_between_the_ranks_of_a_launcher(tmp_path):
    out = tmp_path / "numbers.json"
    words = ["bench", "allreduce", "--largest", "1", "--pairs", "1", "--out", str(out)]
    done = subprocess.run(
        [*launcher(2), sys.executable, "-m", "hvd_imgcls", *words],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("2 ranks: latency") == 1
    results = json.loads(out.read_text())["results"]["2 ranks"]
    assert [row["bytes"] for row in results["sizes"]][-1] == 1 << 20
