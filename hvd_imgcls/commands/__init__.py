"""Arguments of the commands. `train`, `evaluate` and `plan` implement what the commands do."""
