"""The training state, as JSON values and arrays."""
