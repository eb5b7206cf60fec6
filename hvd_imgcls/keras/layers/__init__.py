"""Layers that are faster, or synchronised over ranks."""
