"""Measures ways to reduce gradients in the first updates, and takes the fastest."""
