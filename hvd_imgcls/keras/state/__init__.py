"""What a training keeps from one step to the next, as JSON values and arrays."""
