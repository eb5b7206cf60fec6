"""Optimizer state that is divided over the ranks."""
