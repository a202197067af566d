"""What bytes mean: one file for each format, in both directions."""
