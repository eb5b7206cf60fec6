"""Existing TFRecord files, with an index for random access."""
