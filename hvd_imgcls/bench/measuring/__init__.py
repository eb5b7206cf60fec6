"""Launching, timing and ratios."""
