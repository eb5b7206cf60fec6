"""Images that cannot be read."""
