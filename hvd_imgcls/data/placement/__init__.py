"""Placement: images divided over hosts and exchanged between them, and separate labels."""
