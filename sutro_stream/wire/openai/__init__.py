"""What OpenAI-compatible endpoints send, read without I/O: replies, errors, limits."""
