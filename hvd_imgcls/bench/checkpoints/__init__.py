"""Costs of checkpoints, of continuing, and of deterministic training."""
