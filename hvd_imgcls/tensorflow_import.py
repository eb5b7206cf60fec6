"""Imports TensorFlow without the six lines that it prints on every rank."""

from __future__ import annotations

import os
import re
import sys
import tempfile

from hvd_imgcls.logs import Verbosity

# Messages that TensorFlow 2.21 prints before TF_CPP_MIN_LOG_LEVEL takes effect: the
# "before InitializeLog" heading and informational messages.
_REMARK = re.compile(rb"WARNING: All log messages before absl::InitializeLog|I\d{4} \d\d:\d\d:")


def import_quietly_unless_asked() -> None:
    """Imports TensorFlow quietly in a program, unless it has been, or its log level is set.

    Otherwise every rank of a program would print its start-up messages. Failures are raised as
    exceptions. `TF_CPP_MIN_LOG_LEVEL` in the environment shows the messages.
    """
    if "tensorflow" not in sys.modules and "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        import_tensorflow_quietly(Verbosity.NORMAL)


def import_tensorflow_quietly(verbosity: Verbosity) -> None:
    """Imports TensorFlow; other output of the import is printed afterwards.

    Later messages obey `TF_CPP_MIN_LOG_LEVEL`, which the command line sets.

    Args:
        verbosity: With `VERBOSE` nothing is filtered.
    """
    if verbosity is Verbosity.VERBOSE:
        return
    sys.stderr.flush()
    screen = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            import tensorflow  # noqa: F401 - imported for its side effects
        finally:
            os.dup2(screen, 2)
            os.close(screen)
            caught.seek(0)
            for line in caught:
                if not _REMARK.match(line):
                    os.write(2, line)
