"""Checkpoints of a run for the user: a list, model files, weights for another run."""
