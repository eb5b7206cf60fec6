"""Parses and validates a configuration from a pipeline file and the command line."""
