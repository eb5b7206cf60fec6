"""What `fit` keeps between batches, apart from the model: its callbacks and how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from hvd_imgcls import distributed
from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.keras.callbacks.rank_safe import RankSafe
from hvd_imgcls.keras.state.callback_state import CallbackState
from hvd_imgcls.keras.state.registration import register_model
from hvd_imgcls.keras.state.training_state import MetricsState
from hvd_imgcls.plan.position import Position
from hvd_imgcls.state_registry import State, StateRegistry, of_the_root


class FitState:
    """Whether a callback has ended training, and the logs of the last batch of an epoch.

    Args:
        model: The model being trained.

    Attributes:
        logs: The logs of the last batch, if it is the last one of the epoch; otherwise empty.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self.logs: dict[str, float] = {}

    def state(self) -> State:
        """Returns whether training has ended early, and the logs."""
        return {"stops": bool(self._model.stop_training), "logs": dict(self.logs)}

    def restore(self, state: State) -> None:
        """Restores the logs. Whether `fit` trains at all is decided before it begins."""
        self.logs = dict(state["logs"])


class EpochMetricsState:
    """This rank's metrics, if training is within an epoch.

    Args:
        model: A compiled model.
        position: How far training is.
    """

    def __init__(self, model: keras.Model, position: Position) -> None:
        self._metrics = MetricsState(model)
        self._position = position

    def state(self) -> State:
        """Returns the variables of the metrics; none between two epochs: `fit` resets them."""
        if not self._position.batch_in_epoch:
            return {"names": [], "values": []}
        return self._metrics.state()

    def restore(self, state: State) -> None:
        """Restores the result of `state`; the metrics must be built.

        Raises:
            CheckpointError: If the model has different metrics.
        """
        if state["names"]:
            self._metrics.restore(state)


class CallbackStates:
    """The states of several callbacks, which are recognised by their classes and their order.

    Args:
        callbacks: The callbacks.
        may_be_fewer: Whether there may be fewer than those whose states are restored: on ranks
            other than the root, since a script may add callbacks on the root only.
    """

    def __init__(
        self, callbacks: Sequence[keras.callbacks.Callback], *, may_be_fewer: bool = False
    ) -> None:
        self._callbacks = list(callbacks)
        self._may_be_fewer = may_be_fewer

    def state(self) -> State:
        """Returns the states, in order."""
        return {"callbacks": [CallbackState(callback).state() for callback in self._callbacks]}

    def restore(self, state: State) -> None:
        """Restores the result of `state`.

        Raises:
            CheckpointError: If there are other callbacks than then.
        """
        left: list[dict[str, Any]] = list(state["callbacks"])
        for callback in self._callbacks:
            name = type(callback).__name__
            index = next((i for i, one in enumerate(left) if one["class"] == name), None)
            if index is None or (index and not self._may_be_fewer):
                raise self._other_callbacks(state)
            CallbackState(callback).restore(left[index])
            del left[: index + 1]
        if left and not self._may_be_fewer:
            raise self._other_callbacks(state)

    def _other_callbacks(self, state: State) -> CheckpointError:
        then = [one["class"] for one in state["callbacks"]]
        now = [type(callback).__name__ for callback in self._callbacks]
        return CheckpointError(
            f"callbacks of fit: got {', '.join(now) or 'none'}, expected "
            f"{', '.join(then) or 'none'}, those of the training that is continued; pass the same "
            "ones in the same order, or begin in another directory"
        )


def states_of_fit(
    callbacks: Sequence[keras.callbacks.Callback],
    own: keras.callbacks.Callback,
    fit_state: FitState,
    position: Position,
) -> StateRegistry:
    """Returns everything that is saved.

    Args:
        callbacks: All callbacks of `fit`.
        own: The one that saves. It is left out, and so is the progress bar.
        fit_state: Whether training has ended.
        position: How far it is.
    """
    model, is_root = own.model, distributed.current().topology.is_root
    states = StateRegistry()
    states.register("position", position)
    states.register("fit", fit_state, combine=of_the_root)
    register_model(states, model, EpochMetricsState(model, position))
    saved = [
        callback
        for callback in callbacks
        if callback is not own and not isinstance(callback, keras.callbacks.ProgbarLogger)
    ]
    # Those that run only on the root have no state of their own on the other ranks.
    shared = [callback for callback in saved if isinstance(callback, RankSafe)]
    states.register("rank_safe_callbacks", CallbackStates(shared))
    others = CallbackStates(
        [callback for callback in saved if not isinstance(callback, RankSafe)],
        may_be_fewer=not is_root,
    )
    states.register("callbacks", others, combine=of_the_root)
    return states


def numbers_in(logs: Mapping[str, Any] | None) -> dict[str, float]:
    """Returns the numbers among the logs of a batch, as floats."""
    return {name: float(value) for name, value in (logs or {}).items() if np.ndim(value) == 0}
