"""Takes one protection out of the product, so that a test can show that it notices.

HVD_IMGCLS_WITHOUT=start_position python -m tests.support.fault_injection ...
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

WITHOUT = "HVD_IMGCLS_WITHOUT"


def _start_position() -> None:
    from hvd_imgcls.data.pipeline.dataset import Start
    from hvd_imgcls.workflows.training import fitting

    plain = fitting.training_dataset

    @functools.wraps(plain)
    def from_the_beginning(*arguments: Any, start: Start, **keywords: Any) -> Any:
        return plain(*arguments, start=Start(epoch=start.epoch), **keywords)

    fitting.training_dataset = from_the_beginning


def _momenta() -> None:
    from hvd_imgcls.keras.state.training_state import OptimizerState
    from tests.support.fault_injection import after

    def forget(owner: Any, _: Any) -> None:
        for variable in owner._model.optimizer.variables:
            if "momentum" in variable.path:
                variable.assign(variable * 0)

    after(OptimizerState, "restore", forget)


def _watchdog() -> None:
    from hvd_imgcls.watchdog import Watchdog

    Watchdog._report = lambda self, expected: None  # type: ignore[method-assign]


def _waiting_together() -> None:
    from hvd_imgcls.saving.state_saver import StateSaver

    # The root waits alone, when it submits the next snapshot.
    StateSaver.wait = lambda self: self._on_wait()  # type: ignore[method-assign]


def _saving_on_signals() -> None:
    from hvd_imgcls.stop_request import StopRequest

    # The signals end the process as if nobody polled.
    StopRequest._set_polled = lambda self, is_polled: None  # type: ignore[method-assign]


PROTECTIONS: dict[str, Callable[[], None]] = {
    "start_position": _start_position,
    "momenta": _momenta,
    "watchdog": _watchdog,
    "waiting_together": _waiting_together,
    "saving_on_signals": _saving_on_signals,
}


def take_out(name: str) -> None:
    """Takes a protection out when TensorFlow has been imported, as the command does it."""
    from hvd_imgcls.commands import train
    from tests.support.fault_injection import after

    after(train, "import_tensorflow_quietly", lambda *_: PROTECTIONS[name]())
