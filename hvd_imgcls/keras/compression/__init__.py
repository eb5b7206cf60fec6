"""Lossy compression of what the ranks average, with error feedback."""
