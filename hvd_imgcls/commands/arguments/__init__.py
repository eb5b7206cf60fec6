"""Arguments that several commands share, and the order of arguments and options."""
