"""The environment of a process: ranks, cores, versions."""
