"""Sutro's HTTP contract without I/O: paths, bodies, progress lines, errors."""
