"""Excludes functions from AutoGraph."""

from __future__ import annotations

import tensorflow as tf

without_autograph = tf.autograph.experimental.do_not_convert
"""For functions that users call inside their own `tf.function`.

Otherwise, AutoGraph would also convert the functions of this package: tracing would take longer
and errors would point into generated code.
"""
