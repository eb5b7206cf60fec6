"""Parts of `prepare` and `check-data`."""
