"""Importing TensorFlow without the six lines that it prints about itself on every rank."""

from __future__ import annotations

import os
import re
import sys
import tempfile

from hvd_imgcls.logs import Verbosity

# Remarks that TensorFlow 2.21 prints before its own log level takes effect, whatever
# TF_CPP_MIN_LOG_LEVEL says: the heading of such remarks, and informational ones.
_REMARK = re.compile(rb"WARNING: All log messages before absl::InitializeLog|I\d{4} \d\d:\d\d:")


def import_tensorflow_quietly(verbosity: Verbosity) -> None:
    """Imports TensorFlow; what it prints meanwhile is printed afterwards, less the remarks.

    What is printed later is for `TF_CPP_MIN_LOG_LEVEL` to say, which the command line sets.

    Args:
        verbosity: With `VERBOSE` nothing is done: TensorFlow says what it likes.
    """
    if verbosity is Verbosity.VERBOSE:
        return
    sys.stderr.flush()
    screen = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            import tensorflow  # noqa: F401 - the import is what this is for
        finally:
            os.dup2(screen, 2)
            os.close(screen)
            caught.seek(0)
            for line in caught:
                if not _REMARK.match(line):
                    os.write(2, line)
