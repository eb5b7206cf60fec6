"""`bench allreduce`, `bytes`, `overlap`, `slow-network`: how long messages take, and how large."""
