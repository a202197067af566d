"""Frozen nouns of the pipeline; no I/O beside reading a Function file."""
