"""Measures the link to the next host over TCP. Run on every host by `preflight.py`.

    python probe.py HOST NUM_HOSTS round-trips|throughput SECONDS

Prints a JSON list: round trips to the next host in seconds, or the bytes per second that arrived
from the previous one. Imports only the standard library, so that it starts at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time

_PORT = 29401
ROUND_TRIPS = 20
_CHUNK = 256 * 1024
# While TCP finds the rate.
_WARM_UP_SHARE = 0.4
_CONNECT_SECONDS = 20.0


def connect(host: str, port: int = _PORT) -> socket.socket:
    """Returns a connection to a host, as soon as it listens."""
    deadline = time.monotonic() + _CONNECT_SECONDS
    while True:
        try:
            connection = socket.create_connection((host, port), timeout=_CONNECT_SECONDS)
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def measure_round_trips(connection: socket.socket) -> list[float]:
    """Returns the duration of some round trips of one byte, in seconds."""
    taken = []
    for _ in range(ROUND_TRIPS):
        began = time.perf_counter()
        connection.sendall(b"x")
        connection.recv(1)
        taken.append(time.perf_counter() - began)
    return taken[1:]


def echo(connection: socket.socket) -> None:
    """Returns the bytes of `measure_round_trips`."""
    for _ in range(ROUND_TRIPS):
        connection.sendall(connection.recv(1))


def send_for(connection: socket.socket, seconds: float) -> None:
    """Sends as much as possible for some seconds, and then closes this direction."""
    deadline, chunk = time.monotonic() + seconds, bytes(_CHUNK)
    while time.monotonic() < deadline:
        connection.sendall(chunk)
    connection.shutdown(socket.SHUT_WR)


def receive(connection: socket.socket, seconds: float) -> list[float]:
    """Returns the bytes per second that arrive in the last part of `seconds`."""
    began, received = time.perf_counter(), 0
    first = None
    while part := connection.recv(_CHUNK):
        received += len(part)
        now = time.perf_counter()
        if first is None and now - began >= _WARM_UP_SHARE * seconds:
            first = now, received
        if now - began >= seconds:
            break
    if first is None or received == first[1]:
        return [0.0]
    rate = (received - first[1]) / (time.perf_counter() - first[0])
    while connection.recv(_CHUNK):
        pass
    return [rate]


def main(words: list[str]) -> None:
    """Measures with all other hosts at the same time, in a ring."""
    with contextlib.suppress(OSError):
        # The link is to be measured, and not how busy the machine is.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    host, num_hosts, what, seconds = int(words[0]), int(words[1]), words[2], float(words[3])
    server = socket.create_server(("0.0.0.0", _PORT))
    connected: list[socket.socket] = []
    accepting = threading.Thread(target=lambda: connected.append(server.accept()[0]))
    accepting.start()
    to_next = connect(f"host{(host + 1) % num_hosts}")
    accepting.join()
    from_previous = connected[0]
    from_previous.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if what == "round-trips":
        echoing = threading.Thread(target=echo, args=(from_previous,))
        echoing.start()
        result = measure_round_trips(to_next)
        echoing.join()
    else:
        sending = threading.Thread(target=send_for, args=(to_next, seconds))
        sending.start()
        result = receive(from_previous, seconds)
        sending.join()
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
