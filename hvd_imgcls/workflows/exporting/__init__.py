"""Parts of `export`."""
