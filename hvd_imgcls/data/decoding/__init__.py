"""Decoding of image files to pixels."""
