"""Limits found while running: `concurrency="auto"`, and rates kept to unasked."""
