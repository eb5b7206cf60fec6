"""`bench step`: the cost of a distributed step."""
