"""Datasets of TensorFlow Datasets that are on this disk."""
