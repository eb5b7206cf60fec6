"""Images kept in memory, encoded or decoded."""
