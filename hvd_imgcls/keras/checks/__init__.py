"""Run-time checks: consistency of the ranks, NaN and infinity."""
