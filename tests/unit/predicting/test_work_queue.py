"""Every piece is done once, by whoever is free, also over connections."""

import os
import socket
import threading
import time

import pytest

from hvd_imgcls.errors import PeerFailedError, SetupError
from hvd_imgcls.workflows.predicting import work_queue_server
from hvd_imgcls.workflows.predicting.work_queue import RootWorker, WorkQueue
from hvd_imgcls.workflows.predicting.work_queue_server import RemoteWorker, Server

SECRET = b"only the ranks know this"


def work(worker, seconds, done):
    while (piece := worker.take()) is not None:
        time.sleep(seconds)
        done.append(piece)
        worker.finish(piece, [piece * 10])


def test_a_slow_worker_does_fewer_pieces_and_every_piece_is_done_once():
    kept = {}
    pieces = WorkQueue(40, {3, 4}, lambda piece, rank, rows: kept.update({piece: (rank, rows)}))
    server = Server(pieces, address="127.0.0.1", secret=SECRET)
    remote = RemoteWorker(["127.0.0.1"], server.port, secret=SECRET, rank=1)
    done = [], []
    slow = threading.Thread(target=work, args=(remote, 0.02, done[1]))
    slow.start()
    work(RootWorker(pieces), 0.004, done[0])
    pieces.wait()
    slow.join(10)
    server.close()
    assert sorted(done[0] + done[1]) == [n for n in range(40) if n not in (3, 4)]
    assert 0 < len(done[1]) < len(done[0])
    assert kept == {n: (rank, [n * 10]) for rank in (0, 1) for n in done[rank]}


def test_a_worker_that_goes_with_a_piece_fails_those_who_wait():
    pieces = WorkQueue(2, (), lambda *_: None)
    server = Server(pieces, address="127.0.0.1", secret=SECRET)
    remote = RemoteWorker(["127.0.0.1"], server.port, secret=SECRET, rank=3)
    assert remote.take() == 0
    remote._connection.close()
    root = RootWorker(pieces)
    root.finish(root.take(), [])
    with pytest.raises(PeerFailedError, match="rank 3 ended while it worked on piece 0"):
        pieces.wait()
    server.close()


def test_a_worker_that_has_nothing_may_go():
    pieces = WorkQueue(1, (), lambda *_: None)
    server = Server(pieces, address="127.0.0.1", secret=SECRET)
    root = RootWorker(pieces)
    piece = root.take()
    remote = RemoteWorker(["127.0.0.1"], server.port, secret=SECRET, rank=1)
    assert remote.take() is None
    remote._connection.close()
    root.finish(piece, [])
    pieces.wait()
    server.close()


def test_what_cannot_be_kept_is_an_error_for_those_who_wait():
    def keep(*_):
        raise OSError("No space left on device")

    pieces = WorkQueue(1, (), keep)
    server = Server(pieces, address="127.0.0.1", secret=SECRET)
    remote = RemoteWorker(["127.0.0.1"], server.port, secret=SECRET, rank=1)
    piece = remote.take()
    with pytest.raises(PeerFailedError, match="the root no longer hands out work"):
        remote.finish(piece, [])
    with pytest.raises(OSError, match="No space left"):
        pieces.wait()
    server.close()


def test_without_the_secret_nobody_gets_a_piece():
    from multiprocessing.connection import AuthenticationError

    pieces = WorkQueue(1, (), lambda *_: None)
    server = Server(pieces, address="127.0.0.1", secret=SECRET)
    with pytest.raises(AuthenticationError):
        RemoteWorker(["127.0.0.1"], server.port, secret=b"guessed", rank=1)
    # And the server goes on.
    remote = RemoteWorker(["127.0.0.1"], server.port, secret=SECRET, rank=1)
    assert remote.take() == 0
    server.close()


def test_a_root_that_cannot_be_reached_is_named():
    with pytest.raises(SetupError, match=r"rank 1 cannot reach the root at 127\.0\.0\.1, port 1"):
        RemoteWorker(["127.0.0.1"], 1, secret=SECRET, rank=1)


def test_connections_that_say_nothing_disturb_no_rank_and_are_closed(monkeypatch):
    monkeypatch.setattr(work_queue_server, "AUTHENTICATION_SECONDS", 1.0)
    server = Server(WorkQueue(1, (), keep_nothing), address="127.0.0.1", secret=SECRET)
    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(20)]
    partial = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    partial.sendall(b"\x00")
    began = time.monotonic()
    remote = RemoteWorker(["127.0.0.1"], server.port, secret=SECRET, rank=1)
    assert remote.take() == 0
    assert time.monotonic() - began < 1
    for connection in [*idle, partial]:
        while connection.recv(1000):  # the challenge, then the end
            pass
        connection.close()
    remote.finish(0, [])
    server.close()


def test_random_bytes_end_only_their_own_connection():
    server = Server(WorkQueue(1, (), keep_nothing), address="127.0.0.1", secret=SECRET)
    for length in (1, 4, 20, 5000):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(os.urandom(length))
    assert RemoteWorker(["127.0.0.1"], server.port, secret=SECRET, rank=1).take() == 0
    server.close()


def keep_nothing(piece, rank, rows):
    """Keeps no results."""
