"""Which example comes when: splits, epochs, global batches, the part of each rank."""
