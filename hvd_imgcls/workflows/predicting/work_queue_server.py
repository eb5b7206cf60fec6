"""The way from the other ranks to the root's list of pieces: a connection for each.

Messages are JSON, and a secret that only the ranks have opens a connection
(`multiprocessing.connection`): what comes off the network is data, never code.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from hvd_imgcls.distributed import Collectives, agreement
from hvd_imgcls.errors import PeerFailedError, SetupError
from hvd_imgcls.workflows.predicting.work_queue import Pieces, RootWorker, Rows, Worker

_CONNECT_SECONDS = 10


class Server:
    """Lets other ranks take the root's pieces until it is closed.

    Args:
        pieces: The root's.
        local: Whether all ranks are on this machine.
        secret: What a rank must know.
    """

    def __init__(self, pieces: Pieces, *, local: bool, secret: bytes) -> None:
        self._pieces = pieces
        self._listener = Listener(("127.0.0.1" if local else "", 0), backlog=128, authkey=secret)
        self._is_open = True
        threading.Thread(target=self._accept, name="pieces", daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.address[1])

    def close(self) -> None:
        """Takes no more connections."""
        self._is_open = False
        self._listener.close()

    def _accept(self) -> None:
        while self._is_open:
            try:
                connection = self._listener.accept()
            except (AuthenticationError, EOFError, OSError):
                # Somebody else's, or one that only tried whether we are there, or we are closed.
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        rank = -1
        try:
            rank = json.loads(connection.recv_bytes())
            while True:
                reply = self._answer(rank, json.loads(connection.recv_bytes()))
                connection.send_bytes(json.dumps(reply).encode())
        except (EOFError, OSError):
            self._pieces.lose(rank)
        except _CannotKeepError:
            pass  # Those who wait have its cause.
        finally:
            connection.close()

    def _answer(self, rank: int, message: Any) -> int | None:
        if message is None:
            return self._pieces.take(rank)
        try:
            self._pieces.finish(rank, message["piece"], message["rows"])
        except Exception as error:
            # A full disk, for one: the root must not wait for a piece that nobody can keep.
            self._pieces.fail(error)
            raise _CannotKeepError from error
        return None


class _CannotKeepError(Exception):
    """What came of a piece could not be kept."""


class RemoteWorker:
    """Another rank's way to the pieces.

    Args:
        addresses: Where the root may be reached.
        port: Its port.
        secret: What it wants to know.
        rank: This rank.

    Raises:
        SetupError: If the root cannot be reached.
    """

    def __init__(self, addresses: list[str], port: int, *, secret: bytes, rank: int) -> None:
        address = next((a for a in addresses if _answers(a, port)), None)
        if address is None:
            raise SetupError(
                f"rank {rank} cannot reach the root at {', '.join(addresses)}, port {port}",
                fix="let the machines of the run connect to each other on all ports",
            )
        self._connection = Client((address, port), authkey=secret)
        # The dataset takes pieces in a thread of its own.
        self._one_at_a_time = threading.Lock()
        self._connection.send_bytes(json.dumps(rank).encode())

    def take(self) -> int | None:
        """See `Worker`."""
        piece: int | None = self._ask(None)
        return piece

    def finish(self, piece: int, rows: Rows) -> None:
        """See `Worker`."""
        self._ask({"piece": piece, "rows": rows})

    def _ask(self, message: Any) -> Any:
        try:
            with self._one_at_a_time:
                self._connection.send_bytes(json.dumps(message).encode())
                return json.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise PeerFailedError("the root does not hand out work any more") from error


def worker_of(
    collectives: Collectives, pieces: Pieces | None, addresses: list[str]
) -> tuple[Worker, Server | None]:
    """Returns this rank's way to the pieces, and on the root, what serves the others.

    Collective: every rank must call this.

    Args:
        collectives: How the ranks talk.
        pieces: The root's list; None on other ranks.
        addresses: Where this machine may be reached.
    """
    topology = collectives.topology
    local = topology.local_size == topology.size
    servers: list[Server] = []

    def serve() -> dict[str, Any] | None:
        if topology.size == 1 or pieces is None:
            return None
        secret = secrets.token_bytes(32)
        servers.append(Server(pieces, local=local, secret=secret))
        return {
            "addresses": ["127.0.0.1"] if local else addresses,
            "port": servers[0].port,
            "secret": secret.hex(),
        }

    told = agreement.on_root(collectives, serve)
    if pieces is not None:
        return RootWorker(pieces), servers[0] if servers else None
    secret = bytes.fromhex(told["secret"])
    remote = RemoteWorker(told["addresses"], told["port"], secret=secret, rank=topology.rank)
    return remote, None


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=_CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
