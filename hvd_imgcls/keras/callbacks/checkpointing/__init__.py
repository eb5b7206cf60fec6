"""Saves a `fit` of all ranks, and continues it: the parts of `hvd.callbacks.Checkpoint`."""
