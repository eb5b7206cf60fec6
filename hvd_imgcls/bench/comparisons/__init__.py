"""Benchmarks against other trainers."""
