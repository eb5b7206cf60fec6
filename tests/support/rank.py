"""One rank of `run_on_ranks`: joins the run, then calls what the parent asks for."""

from __future__ import annotations

import ctypes
import importlib
import os
import pickle
import signal
import struct
import sys
import traceback
from typing import Any

PR_SET_PDEATHSIG = 1  # prctl(2): so that no rank outlives a parent that was killed


def main(requests: int, answers: int) -> None:
    """Answers requests from descriptor `requests` on descriptor `answers` until it closes."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    import keras

    from hvd_imgcls import distributed

    distributed.start()
    _answer(answers, "result", None)
    while (header := _read(requests, 8)) is not None:
        module, name, arguments = pickle.loads(_read(requests, struct.unpack("<Q", header)[0]))
        try:
            keras.utils.clear_session()
            keras.config.set_dtype_policy("float32")
            keras.utils.set_random_seed(1 + distributed.current().topology.rank)
            function = getattr(importlib.import_module(module), name)
            _answer(answers, "result", function(*arguments))
        except BaseException as error:  # whatever it is, the parent must hear of it
            traceback.print_exc()
            _answer(answers, "raised", f"{type(error).__name__}: {error}")
            os._exit(1)


def _answer(descriptor: int, kind: str, value: Any) -> None:
    body = pickle.dumps((kind, value))
    message = struct.pack("<Q", len(body)) + body
    while message:
        message = message[os.write(descriptor, message) :]


def _read(descriptor: int, length: int) -> bytes | None:
    received = b""
    while len(received) < length:
        piece = os.read(descriptor, length - len(received))
        if not piece:
            return None
        received += piece
    return received


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
