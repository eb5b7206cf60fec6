"""Parts of `predict`: inputs, work queue, journal, output."""
