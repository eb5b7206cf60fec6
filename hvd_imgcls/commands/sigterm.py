"""How a rank handles SIGTERM."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from hvd_imgcls.interruption import say_interrupted

TERMINATED = 128 + signal.SIGTERM
# When a peer exits, a rank notices within a fraction of a second over Gloo and after about
# one second over MPI; horovodrun sends SIGKILL 5 s after SIGTERM.
GRACE_SECONDS = 3.0


def install_sigterm_grace() -> None:
    """Gives a rank that receives SIGTERM time to report that another rank has failed.

    The launcher sends SIGTERM to the other ranks as soon as one exits. A moment later their
    pending operations fail, and they exit with code 5, the code for a failed peer. If nothing
    fails within that time, SIGTERM had another reason, such as Ctrl-C in the launcher's terminal:
    the root says what remains, and the rank exits.
    """

    def end() -> None:
        say_interrupted("stopped by SIGTERM")
        os._exit(TERMINATED)

    def on_sigterm(signum: int, frame: FrameType | None) -> None:
        timer = threading.Timer(GRACE_SECONDS, end)
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, on_sigterm)
