"""A run that ends after its first new step. Started by `bench checkpoint`.

python -m hvd_imgcls.bench.checkpoints.continuing_arms PIPELINE RUN_DIR end|save
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any

import keras

from hvd_imgcls import logs
from hvd_imgcls.config import load_config
from hvd_imgcls.errors import StoppedError
from hvd_imgcls.workflows.train import train


class EndAfterFirstStep(keras.callbacks.Callback):
    """Ends the process, like a kill, or asks it to save and stop.

    Args:
        saves: Whether the state is saved.
    """

    def __init__(self, *, saves: bool) -> None:
        super().__init__()
        self._saves = saves

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Ends the process."""
        if not self._saves:
            os._exit(0)
        os.kill(os.getpid(), signal.SIGTERM)


def main(pipeline: str, run_dir: str, end: str) -> None:
    """Trains one step."""
    config = load_config(pipeline, [f"--run_dir={run_dir}"])
    callback = EndAfterFirstStep(saves=end == "save")
    with contextlib.suppress(StoppedError):
        train(config, callbacks=[callback], verbosity=logs.Verbosity.QUIET)


if __name__ == "__main__":
    main(*sys.argv[1:])
