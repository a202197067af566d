"""Concurrency on anyio: stages, windows, retries; knows no models and no HTTP."""
