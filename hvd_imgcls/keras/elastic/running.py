"""`hvd.elastic.run`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from hvd_imgcls.errors import PeerFailedError
from hvd_imgcls.failures import root_cause
from hvd_imgcls.interruption import end_by_signal, leave
from hvd_imgcls.keras.elastic.states import State
from hvd_imgcls.stop_request import StopRequest


def run(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that begins with the last commit, as a decorator.

    Collective: every rank must call the function. It restores the state that was committed last
    by whatever ranks there were, or gives all ranks that of the root. If another rank fails, the
    process ends with exit code 5; `horovodrun` then starts all ranks anew.

    Args:
        function: Takes a state of `hvd.elastic` first.

    Raises:
        FitStoppedError: What `State.commit` raises, if the hosts change.
    """

    @functools.wraps(function)
    def wrapper(state: State, *args: Any, **kwargs: Any) -> Any:
        stop = StopRequest(end_by_signal)
        try:
            with stop.listening(), stop.polled():
                state._begin(stop)
                result = function(state, *args, **kwargs)
                state._end()
                return result
        except Exception as error:
            known = error if isinstance(error, PeerFailedError) else root_cause(error)
            if not isinstance(known, PeerFailedError):
                raise
            sys.stderr.write(f"error: {known}\n")
            leave(known.exit_code)

    return wrapper
