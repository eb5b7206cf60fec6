"""Datasets of TensorFlow Datasets that are already on disk."""
