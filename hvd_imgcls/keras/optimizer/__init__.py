"""The distributed optimizer and gradient tape."""
