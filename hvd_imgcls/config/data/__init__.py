"""Configuration of the data: sources, placement, allocation."""
