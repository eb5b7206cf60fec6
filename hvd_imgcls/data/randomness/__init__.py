"""Random numbers that depend on seed, epoch and example only."""
