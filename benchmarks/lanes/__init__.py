"""The lanes of the suite, one file each."""
