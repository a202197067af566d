"""Words to the person at the terminal: results on stdout, mistakes on stderr."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

_MINUTE_S = 60
_HOUR_MINUTES = 60
_UNPRINTABLE = {
    code: "\N{REPLACEMENT CHARACTER}"
    for code in (*range(0x20), *range(0x7F, 0xA0))
    if chr(code) not in "\n\t"
}


def prepare_streams() -> None:
    """Let no character be one that stdout cannot say."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print a result on stdout."""
    _write(sys.stdout, text)


def complain(text: str, *, label: str | None = "error") -> None:
    """Print one message on stderr, `label` before it."""
    _write(sys.stderr, printable(text if label is None else f"{label}: {text}"))


def printable(text: str) -> str:
    """The text without characters that would command a terminal."""
    return text.translate(_UNPRINTABLE)


def indented(text: str) -> str:
    """The text, each line set in by two spaces."""
    return "\n".join(f"  {line}" for line in text.splitlines() or [""])


def duration(seconds: float) -> str:
    """A length of time, as `7.1 s` or `1:02:03`."""
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE_S)
    hours, minutes = divmod(minutes, _HOUR_MINUTES)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02} min"


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except BrokenPipeError:
        # The reader has left. What was done stays done and decides the exit code;
        # what is still buffered must not fail again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
