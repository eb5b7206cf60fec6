"""Faster and synchronised layers."""
