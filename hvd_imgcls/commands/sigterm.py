"""What SIGTERM does to a rank."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

TERMINATED = 128 + signal.SIGTERM
# A rank whose peer has gone learns it within a fraction of a second over Gloo, and about
# one second over MPI; horovodrun sends SIGKILL 5 s after SIGTERM.
GRACE_SECONDS = 3.0


def install_sigterm_grace() -> None:
    """Lets a rank that is told to end say why, if the reason is that another rank has gone.

    The launcher sends SIGTERM to the other ranks as soon as one has ended. A moment later
    their operations fail, and they end with exit code 5 as ranks that another one took
    along. Where nothing fails, the rank was told to end for another reason and does.
    """

    def on_sigterm(signum: int, frame: FrameType | None) -> None:
        timer = threading.Timer(GRACE_SECONDS, os._exit, (TERMINATED,))
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, on_sigterm)
