"""What a command needs of the process that starts it: standard streams and the backend of Keras."""

from __future__ import annotations

import os
import sys

from hvd_imgcls.errors import ConfigError


def open_missing_streams() -> None:
    """Opens standard streams that the caller has closed (`>&-`): files would get their numbers."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # Takes the lowest free number.
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def require_tensorflow() -> None:
    """Makes Keras use TensorFlow, whatever its own configuration file says.

    Raises:
        ConfigError: If the environment asks for another backend.
    """
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise ConfigError(
            "KERAS_BACKEND",
            got=backend,
            expected="tensorflow, or no such environment variable",
            fix="unset KERAS_BACKEND",
        )
