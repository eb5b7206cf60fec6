"""Drawings of arrays, with Pillow."""
