"""Caching of images in memory, encoded or decoded."""
