"""Which callbacks run on the root for all ranks, and which must run on every rank."""

from __future__ import annotations

from typing import Any

import keras

from hvd_imgcls.errors import ConfigError


def knows_of_ranks(callback: keras.callbacks.Callback) -> bool:
    """Returns whether a callback is to run on every rank as it is."""
    # What `fit` returns is the history of each rank; it decides nothing.
    if isinstance(callback, keras.callbacks.History) or getattr(callback, "is_collective", False):
        return True
    is_ours = type(callback).__module__.startswith("hvd_imgcls.keras.callbacks")
    return is_ours and not isinstance(callback, keras.callbacks.ModelCheckpoint)


def require_wrappable(callback: Any) -> None:
    """Refuses what cannot run on the root alone.

    Raises:
        ConfigError: Saying what to do instead.
    """
    problem, fix = "", ""
    if isinstance(callback, keras.callbacks.BackupAndRestore):
        problem = "BackupAndRestore, which chooses the first epoch on one rank alone"
        fix = "use ModelCheckpoint, load the file and set initial_epoch on every rank"
    elif not isinstance(callback, keras.callbacks.Callback):
        problem, fix = repr(callback), "give it callbacks of Keras"
    elif knows_of_ranks(callback):
        problem = f"{type(callback).__name__}, which has to run on every rank"
        fix = "give it to fit directly, or use hvd.callbacks.rank_safe(list)"
    if problem:
        raise ConfigError(
            "RankSafe(callbacks)", got=problem, expected="callbacks that run on one rank", fix=fix
        )
