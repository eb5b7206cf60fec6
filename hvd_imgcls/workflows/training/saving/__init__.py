"""Saves the state of a run, and continues it."""
