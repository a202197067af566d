"""Client of a Sutro deployment: submit, follow, cancel, fetch."""
