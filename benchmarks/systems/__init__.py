"""Whoever is measured: one program each, see `child.py`."""
