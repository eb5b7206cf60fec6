"""Random numbers that depend only on seed, epoch and example."""
