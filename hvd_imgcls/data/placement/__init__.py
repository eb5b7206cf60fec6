"""Images divided over hosts, and what hosts exchange."""
