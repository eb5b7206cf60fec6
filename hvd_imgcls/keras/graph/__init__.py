"""Helpers for code that runs inside a `tf.function`."""
