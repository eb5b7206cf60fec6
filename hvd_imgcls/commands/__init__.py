"""The arguments of the commands. What a command does is told in `train`, `evaluate`, `plan`."""
