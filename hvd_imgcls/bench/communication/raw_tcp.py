"""The link between neighbouring ranks, measured over plain TCP: the bound of a ring."""

from __future__ import annotations

import secrets
import socket
import statistics
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hvd_imgcls.bench.network import probe
from hvd_imgcls.distributed import Collectives
from hvd_imgcls.errors import HvdImgclsError

_SECONDS = 2.0
_ACCEPT_SECONDS = 30.0
_TOKEN_BYTES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class RawLink:
    """The slowest neighbours of the ring.

    Attributes:
        round_trip_seconds: Largest median round trip of one byte.
        bytes_per_second: Smallest rate at which a rank receives while all send.
    """

    round_trip_seconds: float
    bytes_per_second: float

    def to_json(self) -> dict[str, float]:
        """Returns both numbers."""
        return {
            "round trip seconds": self.round_trip_seconds,
            "bytes per second": self.bytes_per_second,
        }


def address_of(ranks: Collectives) -> str:
    """Returns the address under which others reach this rank: that of its host name, as in Gloo."""
    if ranks.topology.local_size == ranks.topology.size:
        return "127.0.0.1"
    return socket.gethostbyname(socket.gethostname())


def measure_ring(ranks: Collectives) -> RawLink:
    """Measures the links from every rank to the next, all at the same time.

    Collective: every rank must call this.

    Args:
        ranks: At least two.

    Raises:
        HvdImgclsError: If a rank cannot reach the next.
    """
    to_next, from_previous = _connect(ranks)
    with to_next, from_previous:
        round_trips = _together(
            lambda: probe.echo(from_previous),
            lambda: probe.measure_round_trips(to_next),
        )
        ranks.barrier()
        rates = _together(
            lambda: probe.send_for(to_next, _SECONDS),
            lambda: probe.receive(from_previous, _SECONDS),
        )
    slowest = ranks.gather_json([statistics.median(round_trips), rates[0]])
    return RawLink(
        round_trip_seconds=max(one[0] for one in slowest),
        bytes_per_second=min(one[1] for one in slowest),
    )


def _connect(ranks: Collectives) -> tuple[socket.socket, socket.socket]:
    rank, size = ranks.topology.rank, ranks.topology.size
    token = secrets.token_bytes(_TOKEN_BYTES)
    with socket.create_server(("0.0.0.0", 0)) as server:
        server.settimeout(_ACCEPT_SECONDS)
        mine = [address_of(ranks), server.getsockname()[1], token.hex()]
        host, port, next_token = ranks.gather_json(mine)[(rank + 1) % size]
        try:
            to_next = probe.connect(host, port)
            to_next.sendall(bytes.fromhex(next_token))
            while True:
                from_previous, _ = server.accept()
                from_previous.settimeout(_ACCEPT_SECONDS)
                if from_previous.recv(_TOKEN_BYTES, socket.MSG_WAITALL) == token:
                    break
                from_previous.close()
        except OSError as error:
            raise HvdImgclsError(
                f"rank {rank} could not connect to its neighbours over TCP, to {host} port {port}: "
                f"{error}; open the firewall between the hosts, and see that their names resolve "
                "to addresses of the network"
            ) from error
    from_previous.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return to_next, from_previous


def _together(other: Callable[[], Any], action: Callable[[], list[float]]) -> list[float]:
    """Returns the result of `action` while a thread runs `other`."""
    thread = threading.Thread(target=other)
    thread.start()
    result = action()
    thread.join()
    return result
