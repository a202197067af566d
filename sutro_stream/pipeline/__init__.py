"""Pipelines: the only room that knows all stages."""
