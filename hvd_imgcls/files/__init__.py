"""Writing files that are whole or not there."""
