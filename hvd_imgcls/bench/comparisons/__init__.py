"""Benchmarks against other training frameworks."""
