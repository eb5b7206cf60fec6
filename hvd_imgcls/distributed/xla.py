"""Detects Horovod operations inside functions compiled by XLA, which cannot contain them.

A function compiled by XLA (`jit_compile=True`) cannot contain a Horovod operation: there
is no XLA kernel for it on the CPU, and the CUDA one is not part of our build.
"""

from __future__ import annotations

import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from hvd_imgcls.errors import ConfigError


def require_no_xla(operation: str) -> None:
    """Raises an error if the graph being traced will be compiled by XLA.

    Args:
        operation: Name of the collective operation about to be added.

    Raises:
        ConfigError: Inside `tf.function(jit_compile=True)`.
    """
    if tf.executing_eagerly():
        return
    if control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()):
        raise ConfigError(
            "jit_compile",
            got=True,
            expected="False for a function that communicates (here: " + operation + ")",
            fix="call model.compile(..., jit_compile=False)",
        )
