"""Functions that AutoGraph leaves as they are."""

from __future__ import annotations

import tensorflow as tf

without_autograph = tf.autograph.experimental.do_not_convert
"""For what users call inside their own `tf.function`.

AutoGraph would otherwise rewrite this package's functions too: tracing takes longer and
errors point into generated code.
"""
