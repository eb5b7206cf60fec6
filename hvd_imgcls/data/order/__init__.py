"""The order of the examples: splits, epochs, global batches, and the part of each rank."""
