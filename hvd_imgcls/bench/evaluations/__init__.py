"""`bench evaluate`: evaluation and prediction."""
