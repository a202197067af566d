"""`python -m sutro_stream`, the same as `sutro-stream`."""

from sutro_stream.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
