"""Results out: one file for each format, one contract for all."""
