"""Collective operations on tensors, variables and objects."""
