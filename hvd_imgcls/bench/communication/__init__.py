"""`bench allreduce`, `bytes` and `slow-network`: how long messages take, and how large they are."""
