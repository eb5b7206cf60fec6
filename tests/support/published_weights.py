"""A local server of weights files, and files in the format of the published ones."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from pathlib import Path

import h5py
from keras.src.legacy.saving import legacy_h5_format


def write_published(model, path):
    """Writes weights as Keras 2 did."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


class WeightsServer:
    """Serves the files of a folder.

    Attributes:
        url: Its address, with a slash at the end.
        requested: Names of the files asked for, in order.
        hold: While this is not set, only the first half of a file is sent.
        pause_seconds: Time between the halves of a file.
        cuts: Whether the connection is closed after the first half.
    """

    def __init__(self, folder: Path) -> None:
        self.requested: list[str] = []
        self.hold = threading.Event()
        self.hold.set()
        self.pause_seconds = 0.0
        self.cuts = False
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.strip("/")
                server.requested.append(name)
                if not (folder / name).is_file():
                    self.send_error(404)
                    return
                content = (folder / name).read_bytes()
                half = len(content) // 2
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(content[:half])
                    self.wfile.flush()
                    time.sleep(server.pause_seconds)
                    server.hold.wait(60)
                    if not server.cuts:
                        self.wfile.write(content[half:])

            def log_message(self, *_):
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops the server."""
        self.hold.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
