"""Saves the state of a training while it runs, and reads it to continue: for runs and for `fit`."""
