"""Published Functions on disk: accounts, names, immutable revisions."""
