"""Rows in: one file for each kind of source, one contract for all."""
