"""How a rank handles SIGTERM."""

from __future__ import annotations

import signal

from hvd_imgcls.interruption import end_by_signal


def install_sigterm_grace() -> None:
    """Gives a rank that receives SIGTERM time to report that another rank has failed."""
    signal.signal(signal.SIGTERM, lambda number, _: end_by_signal(number))
