"""A run that ends after its first new step. Started by `bench checkpoint`.

python -m hvd_imgcls.bench.checkpoints.continuing_arms PIPELINE RUN_DIR
"""

from __future__ import annotations

import os
import sys
from typing import Any

import keras

from hvd_imgcls import logs
from hvd_imgcls.config import load_config
from hvd_imgcls.workflows.train import train


class EndAfterFirstStep(keras.callbacks.Callback):
    """Ends the process, like a kill."""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Ends the process."""
        os._exit(0)


def main(pipeline: str, run_dir: str) -> None:
    """Trains one step."""
    config = load_config(pipeline, [f"--run_dir={run_dir}"])
    train(config, callbacks=[EndAfterFirstStep()], verbosity=logs.Verbosity.QUIET)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
