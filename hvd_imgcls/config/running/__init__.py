"""The sections of what happens while a run goes on: callbacks and checkpoints."""
