"""The server where ranks meet: what it stores, and what it does not let in."""

from __future__ import annotations

import base64
import http.client
import os
import pickle
import socket
import time

import psutil
import pytest

from hvd_imgcls.launcher import rendezvous
from hvd_imgcls.launcher.hosts import Host, assign
from hvd_imgcls.launcher.rendezvous import SECRET_HEADER, RendezvousServer

pytestmark = pytest.mark.matrix("5.6: requests to the rendezvous server")

SLOTS = assign([Host("h1", 2)], 2)


@pytest.fixture
def server():
    server = RendezvousServer("127.0.0.1")
    server.start(SLOTS)
    yield server
    server.stop()


def ask(server, method, path, body=None, secret=None, headers=None):
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=20)
    given = {SECRET_HEADER: server.secret if secret is None else secret, **(headers or {})}
    connection.request(method, path, body, given)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_values_are_kept_until_all_ranks_of_a_scope_have_finished(server):
    assert ask(server, "GET", "/global/0") == (404, b"")
    assert ask(server, "PUT", "/global/0", b"address") == (200, b"")
    assert ask(server, "GET", "/global/0") == (200, b"address")
    ask(server, "DELETE", "/global/0")
    ask(server, "DELETE", "/global/0")  # the same rank again
    assert ask(server, "GET", "/global/0") == (200, b"address")
    ask(server, "DELETE", "/global/1")
    assert ask(server, "GET", "/global/0") == (404, b"")


def test_a_value_of_another_scope_is_deleted_by_its_key(server):
    ask(server, "PUT", "/mine/a", b"1")
    ask(server, "PUT", "/mine/b", b"2")
    ask(server, "DELETE", "/mine/a")
    assert ask(server, "GET", "/mine/a")[0] == 404
    assert ask(server, "GET", "/mine/b") == (200, b"2")


@pytest.mark.parametrize("secret", ["", "wrong", "\xe9", "0" * 64])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_without_the_secret_nothing_is_read_or_changed(server, method, secret):
    server.store.put("global", "0", b"address")
    assert ask(server, method, "/global/0", b"x", secret=secret) == (403, b"")
    assert server.store.get("global", "0") == b"address"


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS", "TRACE", "PATCH", "FOO"])
def test_other_methods_are_refused(server, method):
    assert ask(server, method, "/global/0")[0] == 405


@pytest.mark.parametrize(
    "path", ["/", "/a", "/a/b/c", "//", "/a/", "/../etc/passwd/x", "/a/" + "k" * 600]
)
def test_other_paths_are_refused(server, path):
    assert ask(server, "GET", path)[0] == 400
    assert ask(server, "PUT", path, b"x")[0] == 400


@pytest.mark.parametrize("length", ["-1", "x", "", "1e3", "9" * 13, "٣"])
def test_a_length_that_is_no_length_is_refused(server, length):
    with socket.create_connection(server.server_address[:2], timeout=5) as connection:
        head = f"PUT /a/b HTTP/1.1\r\n{SECRET_HEADER}: {server.secret}\r\n"
        connection.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
        assert b" 411 " in connection.recv(1000)


def test_large_bodies_are_refused_unread_and_all_together_have_a_limit(server, monkeypatch):
    before = psutil.Process().memory_info().rss
    headers = {"Content-Length": str(600 << 20)}
    assert ask(server, "PUT", "/a/b", b"", headers=headers)[0] == 413
    monkeypatch.setattr(rendezvous, "MAX_TOTAL_BYTES", 1000)
    assert ask(server, "PUT", "/a/b", b"x" * 900)[0] == 200
    assert ask(server, "PUT", "/a/c", b"x" * 101)[0] == 413
    assert ask(server, "PUT", "/a/b", b"x" * 1000)[0] == 200
    assert psutil.Process().memory_info().rss - before < 100 << 20


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    "path", ["/worker_addresses/h1:0", "/runfunc/func", "/runfunc_result/0", "/results/0"]
)
def test_the_published_payloads_are_never_unpickled(server, tmp_path, path):
    proof = tmp_path / "proof"
    body = base64.b64encode(pickle.dumps(Payload(proof)))
    assert ask(server, "PUT", path, body, secret="guess")[0] == 403
    assert ask(server, "PUT", path, body) == (200, b"")
    assert ask(server, "GET", path) == (200, body)
    assert not proof.exists()


def test_random_bytes_and_idle_connections_do_not_disturb_others(server):
    idle = [socket.create_connection(server.server_address[:2]) for _ in range(50)]
    for seed in range(50):
        with socket.create_connection(server.server_address[:2]) as connection:
            connection.sendall(os.urandom(seed * 20) + b"\r\n\r\n")
    began = time.monotonic()
    assert ask(server, "PUT", "/global/0", b"address")[0] == 200
    assert time.monotonic() - began < 2
    for connection in idle:
        connection.close()


def test_an_idle_connection_is_closed(monkeypatch):
    monkeypatch.setattr(rendezvous._Handler, "timeout", 0.3)
    server = RendezvousServer("127.0.0.1")
    server.start(SLOTS)
    with socket.create_connection(server.server_address[:2], timeout=5) as connection:
        assert connection.recv(10) == b""
    server.stop()


def test_it_listens_on_one_address_only(server):
    address, port = server.server_address[:2]
    listening = [
        entry.laddr
        for entry in psutil.Process().net_connections("inet")
        if entry.status == psutil.CONN_LISTEN and entry.laddr.port == port
    ]
    assert [entry.ip for entry in listening] == [address] == ["127.0.0.1"]
    server_again = RendezvousServer("127.0.0.1")
    assert server_again.secret != server.secret
    assert len(server.secret) == 64
    server_again.server_close()
