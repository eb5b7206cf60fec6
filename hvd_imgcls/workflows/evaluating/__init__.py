"""Parts of `evaluate`: the files that an evaluation writes."""
