"""A rank of `hvd_imgcls.run`: calls the function on its standard input, and sends the result."""

from __future__ import annotations

import base64
import os
import sys
import traceback
import urllib.request
from typing import Any

import cloudpickle

from hvd_imgcls.launcher.functions import RESULTS
from hvd_imgcls.launcher.rendezvous import SECRET_HEADER, SECRET_VARIABLE
from hvd_imgcls.launcher.values import encode

_SEND_SECONDS = 60


def main() -> int:
    """Calls the function; returns the exit code of the process."""
    try:
        # The launcher wrote this; nobody else can reach the standard input.
        function, args, kwargs = cloudpickle.loads(base64.b64decode(sys.stdin.read()))
        answer = encode({"result": function(*args, **kwargs)})
    except Exception:
        _send(encode({"error": traceback.format_exc()}))
        return 1
    _send(answer)
    return 0


def _send(answer: bytes) -> None:
    address = os.environ["HOROVOD_GLOO_RENDEZVOUS_ADDR"]
    port = os.environ["HOROVOD_GLOO_RENDEZVOUS_PORT"]
    request = urllib.request.Request(
        f"http://{address}:{port}/{RESULTS}/{os.environ['HOROVOD_RANK']}",
        data=answer,
        method="PUT",
        headers={SECRET_HEADER: os.environ[SECRET_VARIABLE]},
    )
    # The server is the launcher, never behind a proxy.
    opener: Any = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(request, timeout=_SEND_SECONDS).close()


if __name__ == "__main__":
    sys.exit(main())
