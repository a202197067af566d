"""Traces of a deployment's work, for whoever collects them."""
