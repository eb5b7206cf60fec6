"""The server where the ranks of a job find each other: keys and values over HTTP.

It listens on one address, answers only requests with the job's secret, and limits what it stores.
Horovod's HTTP client (patch 06) sends the secret that is in `HOROVOD_RENDEZVOUS_SECRET`.
"""

from __future__ import annotations

import hmac
import secrets
import socketserver
import threading
from collections import defaultdict
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from hvd_imgcls.launcher.hosts import Slot

SECRET_HEADER = "X-Horovod-Secret"
SECRET_VARIABLE = "HOROVOD_RENDEZVOUS_SECRET"
_SECRET_BYTES = 32
# A rank stores some 100 bytes per other rank; results of functions may be larger.
MAX_VALUE_BYTES = 16 << 20
MAX_TOTAL_BYTES = 1 << 30
_MAX_KEY_LENGTH = 512
_REQUEST_SECONDS = 10
_MAX_CONNECTIONS = 4096


class _Handler(BaseHTTPRequestHandler):
    """One request: GET, PUT or DELETE of /scope/key. Everything else is refused."""

    timeout = _REQUEST_SECONDS
    server: RendezvousServer
    server_version = "rendezvous"
    sys_version = ""

    def do_GET(self) -> None:
        place = self._place()
        if place is not None:
            value = self.server.store.get(*place)
            self._answer(404 if value is None else 200, value or b"")

    def do_PUT(self) -> None:
        place = self._place()
        if place is None:
            return
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or len(length) > 12:
            self._answer(411)
        elif int(length) > MAX_VALUE_BYTES:
            self._answer(413)
        else:
            try:
                value = self.rfile.read(int(length))
            except TimeoutError:
                self._answer(408)
                return
            is_complete = len(value) == int(length)
            self._answer(200 if is_complete and self.server.store.put(*place, value) else 413)

    def do_DELETE(self) -> None:
        place = self._place()
        if place is not None:
            self.server.store.finish(*place)
            self._answer(200)

    def _place(self) -> tuple[str, str] | None:
        """Returns scope and key, or answers that the request is refused."""
        given = self.headers.get(SECRET_HEADER, "")
        if not hmac.compare_digest(given.encode(), self.server.secret.encode()):
            self._answer(403)
            return None
        _, *parts = self.path.split("/")
        if len(parts) != 2 or not all(0 < len(part) <= _MAX_KEY_LENGTH for part in parts):
            self._answer(400)
            return None
        return parts[0], parts[1]

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuses without the page of the standard library, which repeats parts of the request."""
        self._answer(405 if code == 501 else code)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: paths and addresses of strangers belong in no log."""


class Store:
    """Values by scope and key; a scope of ranks is emptied once all of them have finished."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[str, bytes]] = {}
        self._num_bytes = 0
        self._scope_sizes: dict[str, int] = {}
        self._finished: dict[str, set[str]] = defaultdict(set)

    def expect(self, slots: Sequence[Slot]) -> None:
        """Forgets everything and expects the ranks of a job."""
        with self._lock:
            self._values.clear()
            self._finished.clear()
            self._num_bytes = 0
            self._scope_sizes = {}
            for slot in slots:
                self._scope_sizes["global"] = slot.size
                self._scope_sizes[f"local_{slot.host}"] = slot.local_size
                self._scope_sizes[f"cross_{slot.local_rank}"] = slot.cross_size

    def get(self, scope: str, key: str) -> bytes | None:
        """Returns a value, None if there is none."""
        with self._lock:
            return self._values.get(scope, {}).get(key)

    def put(self, scope: str, key: str, value: bytes) -> bool:
        """Stores a value and returns whether there was room for it."""
        with self._lock:
            old = len(self._values.get(scope, {}).get(key, b""))
            total = self._num_bytes + len(value) - old
            if total > MAX_TOTAL_BYTES:
                return False
            self._values.setdefault(scope, {})[key] = value
            self._num_bytes = total
            return True

    def finish(self, scope: str, key: str) -> None:
        """Notes that a rank has finished a scope, or deletes a value of another scope."""
        with self._lock:
            size = self._scope_sizes.get(scope)
            if size is None:
                self._remove(scope, [key])
                return
            self._finished[scope].add(key)
            if len(self._finished[scope]) == size:
                self._remove(scope, list(self._values.get(scope, {})))
                del self._finished[scope]

    def _remove(self, scope: str, keys: Sequence[str]) -> None:
        values = self._values.get(scope, {})
        for key in keys:
            self._num_bytes -= len(values.pop(key, b""))
        if not values:
            self._values.pop(scope, None)


class RendezvousServer(ThreadingHTTPServer):
    """The server of one job, in threads of this process.

    Args:
        address: The only address on which it listens.
        port: The port; 0 takes a free one.
        secret: What requests must carry; None makes a new one.

    Attributes:
        secret: The secret.
        store: What the ranks have stored.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def __init__(self, address: str, port: int = 0, secret: str | None = None) -> None:
        self.secret = secrets.token_hex(_SECRET_BYTES) if secret is None else secret
        self.store = Store()
        self._connections = threading.Semaphore(_MAX_CONNECTIONS)
        super().__init__((address, port), _Handler)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which ranks find the server."""
        address, port = self.server_address[:2]
        return {
            "HOROVOD_GLOO_RENDEZVOUS_ADDR": str(address),
            "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
            SECRET_VARIABLE: self.secret,
        }

    def server_bind(self) -> None:
        """Binds the address, without looking up its name, which can take long."""
        socketserver.TCPServer.server_bind(self)
        address, port = self.server_address[:2]
        self.server_name, self.server_port = str(address), port

    def start(self, slots: Sequence[Slot]) -> None:
        """Serves the ranks of a job in a thread."""
        self.store.expect(slots)
        threading.Thread(target=self.serve_forever, name="rendezvous", daemon=True).start()

    def stop(self) -> None:
        """Stops serving and closes the port."""
        self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection in a thread of its own; refuses it if there are too many."""
        if not self._connections.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A broken connection is the client's matter; ranks try again."""
