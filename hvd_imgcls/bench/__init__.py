"""Benchmarks: each measures us and a comparator alternately in one run, as a ratio."""
