"""Shows a run from the files in its directory, while it lasts and afterwards."""
