"""`bench input`: reading, decoding and augmenting."""
