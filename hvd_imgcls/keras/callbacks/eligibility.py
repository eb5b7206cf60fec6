"""Decides which callbacks run on the root for all ranks, and which run on every rank."""

from __future__ import annotations

from typing import Any

import keras

from hvd_imgcls.errors import ConfigError


def knows_of_ranks(callback: keras.callbacks.Callback) -> bool:
    """Returns whether a callback must run on every rank, unwrapped."""
    # The history that `fit` returns is per rank; it makes no decisions.
    if isinstance(callback, keras.callbacks.History) or getattr(callback, "is_collective", False):
        return True
    is_ours = type(callback).__module__.startswith("hvd_imgcls.keras.callbacks")
    return is_ours and not isinstance(callback, keras.callbacks.ModelCheckpoint)


def require_wrappable(callback: Any) -> None:
    """Rejects callbacks that cannot run on the root only.

    Raises:
        ConfigError: With an alternative.
    """
    problem, fix = "", ""
    if not isinstance(callback, keras.callbacks.Callback):
        problem, fix = repr(callback), "pass Keras callbacks"
    elif knows_of_ranks(callback):
        problem = f"{type(callback).__name__}, which must run on every rank"
        fix = "pass it to fit directly, or use hvd.callbacks.rank_safe(list)"
    if problem:
        raise ConfigError(
            "RankSafe(callbacks)", got=problem, expected="callbacks that run on one rank", fix=fix
        )
