"""What a process finds around it: ranks, cores, versions."""
