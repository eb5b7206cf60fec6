"""Benchmarks: each measures this package and a baseline alternately, and reports a ratio."""
