"""Text for the terminal: durations, tables, names that cannot control it."""
