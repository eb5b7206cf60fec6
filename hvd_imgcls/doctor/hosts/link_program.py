"""Both ends of the measurement of a network, run on hosts over ssh.

    python -m hvd_imgcls.doctor.hosts.link_program serve ADDRESS
    python -m hvd_imgcls.doctor.hosts.link_program measure ADDRESS PORT

The secret comes on standard input. `serve` prints its port and ends with its standard input.
"""

from __future__ import annotations

import hmac
import json
import socket
import statistics
import sys
import threading
import time

_ROUND_TRIPS = 30
_SEND_SECONDS = 0.5
_PIECE = bytes(1 << 18)
_TIMEOUT_SECONDS = 5.0
_PING, _SEND, _LAST = b"p", b"s", b"\x01"


def serve(address: str, secret: bytes) -> None:
    """Answers measurements until the standard input ends."""
    server = socket.create_server((address, 0))
    sys.stdout.write(f"{server.getsockname()[1]}\n")
    sys.stdout.flush()
    threading.Thread(target=_accept, args=(server, secret), daemon=True).start()
    sys.stdin.read()


def measure(address: str, port: int, secret: bytes) -> dict[str, float]:
    """Returns the median round trip in seconds, and bytes per second in one direction."""
    with socket.create_connection((address, port), timeout=_TIMEOUT_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(secret)
        times = []
        for _ in range(_ROUND_TRIPS):
            began = time.perf_counter()
            connection.sendall(_PING)
            if not connection.recv(1):
                raise ConnectionError("the other host closed the connection")
            times.append(time.perf_counter() - began)
        connection.sendall(_SEND)
        sent, began = 0, time.perf_counter()
        while time.perf_counter() - began < _SEND_SECONDS:
            sent += connection.send(_PIECE)
        connection.sendall(_LAST)
        connection.recv(1)  # sent once everything has arrived
        return {
            "round_trip": statistics.median(times),
            "bytes_per_second": sent / (time.perf_counter() - began),
        }


def _accept(server: socket.socket, secret: bytes) -> None:
    while True:
        connection, _ = server.accept()
        threading.Thread(target=_answer, args=(connection, secret), daemon=True).start()


def _answer(connection: socket.socket, secret: bytes) -> None:
    with connection:
        connection.settimeout(_TIMEOUT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            given = b""
            while len(given) < len(secret):
                read = connection.recv(len(secret) - len(given))
                if not read:
                    return
                given += read
            if not hmac.compare_digest(given, secret):
                return
            while (order := connection.recv(1)) == _PING:
                connection.sendall(_PING)
            # What is sent then consists of zeros, up to the last byte.
            while order and not order.endswith(_LAST):
                order = connection.recv(len(_PIECE))
            connection.sendall(_LAST)
        except OSError:
            return  # the other end says so


def main() -> None:
    """Runs one end."""
    role, address, *rest = sys.argv[1:]
    secret = sys.stdin.readline().strip().encode()
    if role == "serve":
        serve(address, secret)
    else:
        sys.stdout.write(json.dumps(measure(address, int(rest[0]), secret)) + "\n")


if __name__ == "__main__":
    main()
