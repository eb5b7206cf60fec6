"""Checkpoints on disk: the state of a run as JSON and tensors, with digests."""
