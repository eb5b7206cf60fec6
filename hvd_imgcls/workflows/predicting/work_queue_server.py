"""Serves the root's work queue to the other ranks, over one connection each.

Messages are JSON, and opening a connection requires a secret known only to the ranks
(`multiprocessing.connection`): what is received is data, never code.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from collections.abc import Callable
from multiprocessing import AuthenticationError
from multiprocessing.connection import (
    Client,
    Connection,
    Listener,
    answer_challenge,
    deliver_challenge,
)
from typing import Any

from hvd_imgcls.distributed import Collectives, agreement
from hvd_imgcls.errors import PeerFailedError, SetupError
from hvd_imgcls.launcher.network import LOOPBACK, address_of_run
from hvd_imgcls.workflows.predicting.work_queue import RootWorker, Rows, Worker, WorkQueue

_CONNECT_SECONDS = 10
AUTHENTICATION_SECONDS = 10.0
# Connections that have not shown yet that they know the secret.
_MAX_STRANGERS = 256


class Server:
    """Lets other ranks take pieces from the root's queue until it is closed.

    Every connection has a thread of its own, so that one that says nothing disturbs no other.

    Args:
        pieces: The root's queue.
        address: The address on which it listens; "" for all of this host.
        secret: Secret that a rank must know.
    """

    def __init__(self, pieces: WorkQueue, *, address: str, secret: bytes) -> None:
        self._pieces = pieces
        self._secret = secret
        self._strangers = threading.Semaphore(_MAX_STRANGERS)
        self._listener = Listener((address, 0), backlog=128)
        self._is_open = True
        threading.Thread(target=self._accept, name="pieces", daemon=True).start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listener.address[1])

    def close(self) -> None:
        """Stops accepting connections."""
        self._is_open = False
        self._listener.close()

    def _accept(self) -> None:
        while self._is_open:
            try:
                connection = self._listener.accept()
            except (EOFError, OSError):
                continue  # a reachability probe, or we are closed
            if self._strangers.acquire(blocking=False):
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
            else:
                connection.close()

    def _serve(self, connection: Connection) -> None:
        rank = -1
        try:
            try:
                _authenticate(connection, self._secret)
            finally:
                self._strangers.release()
            rank = json.loads(connection.recv_bytes())
            while True:
                reply = self._answer(rank, json.loads(connection.recv_bytes()))
                connection.send_bytes(json.dumps(reply).encode())
        except (EOFError, OSError):
            self._pieces.lose(rank)
        except (AuthenticationError, _CannotKeepError):
            pass  # A foreign connection; or the waiting threads have the cause.
        finally:
            connection.close()

    def _answer(self, rank: int, message: Any) -> int | None:
        if message is None:
            return self._pieces.take(rank)
        try:
            self._pieces.finish(rank, message["piece"], message["rows"])
        except Exception as error:
            # For example a full disk: the root must not wait for a piece that cannot be kept.
            self._pieces.fail(error)
            raise _CannotKeepError from error
        return None


def _authenticate(connection: Connection, secret: bytes) -> None:
    """Requires the secret of the other end within some seconds, and shows that we know it too.

    Raises:
        AuthenticationError: If it does not know the secret.
        OSError: If it is too slow or closes the connection.
    """

    def end() -> None:
        with socket.socket(fileno=os.dup(connection.fileno())) as ended:
            ended.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(AUTHENTICATION_SECONDS, end)
    timer.daemon = True
    timer.start()
    try:
        deliver_challenge(connection, secret)
        answer_challenge(connection, secret)
    finally:
        timer.cancel()


class _CannotKeepError(Exception):
    """The result of a piece could not be stored."""


class RemoteWorker:
    """Access of another rank to the root's queue.

    Args:
        addresses: Addresses of the root.
        port: Its port.
        secret: The shared secret.
        rank: This rank.

    Raises:
        SetupError: If the root cannot be reached.
    """

    def __init__(self, addresses: list[str], port: int, *, secret: bytes, rank: int) -> None:
        address = next((a for a in addresses if _answers(a, port)), None)
        if address is None:
            raise SetupError(
                f"rank {rank} cannot reach the root at {', '.join(addresses)}, port {port}",
                fix="allow connections on all ports between the machines of the run",
            )
        self._connection = Client((address, port), authkey=secret)
        # The dataset takes pieces in its own thread.
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
            raise PeerFailedError("the root no longer hands out work") from error


def worker_of(
    collectives: Collectives, pieces: WorkQueue | None, addresses: Callable[[], list[str]]
) -> tuple[Worker, Server | None]:
    """Returns this rank's access to the queue, and on the root, the server for the others.

    Collective: every rank must call this.

    Args:
        collectives: Communication between the ranks.
        pieces: The root's queue; None on other ranks.
        addresses: Returns the addresses on which the root may be reached, if the launcher has not
            said which interface the run uses.
    """
    topology = collectives.topology
    local = topology.local_size == topology.size
    servers: list[Server] = []

    def serve() -> dict[str, Any] | None:
        if topology.size == 1 or pieces is None:
            return None
        secret = secrets.token_bytes(32)
        address = LOOPBACK if local else address_of_run(os.environ)
        servers.append(Server(pieces, address=address, secret=secret))
        return {
            "addresses": [address] if address else addresses(),
            "port": servers[0].port,
            "secret": secret.hex(),
        }

    connection = agreement.on_root(collectives, serve)
    if pieces is not None:
        return RootWorker(pieces), servers[0] if servers else None
    secret = bytes.fromhex(connection["secret"])
    remote = RemoteWorker(
        connection["addresses"], connection["port"], secret=secret, rank=topology.rank
    )
    return remote, None


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=_CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
