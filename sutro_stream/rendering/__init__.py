"""Rows into prompts, column by column on Arrow."""
