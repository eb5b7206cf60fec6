"""Implementation of the commands: one module per command, and a package for its parts."""
