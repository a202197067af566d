"""A long JSON array in a file, cut into short ones of whole elements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

import msgspec

WINDOW_BYTES = 1 << 20
"""Bytes of one piece, where no element is larger."""

_GUESSES = 3
# Deeper elements are still found, at the price of one piece for all that is left.
_NESTING = 64


def pieces(
    file: IO[bytes], *, start: int, end: int, window_bytes: int = WINDOW_BYTES
) -> Iterator[bytes]:
    """Read an array as a sequence of arrays that together have its elements.

    Blocking. Memory is bounded by `window_bytes` and the largest element.

    Args:
        file: Holds the array.
        start: Offset of its opening bracket.
        end: Offset after its closing bracket.
        window_bytes: Bytes read at once; doubled while an element does not fit.
    """
    file.seek(start + 1)
    left = end - start - 2
    waiting = b""
    asked = window_bytes
    while left:
        read = file.read(min(asked, left))
        if not read:
            break
        left -= len(read)
        waiting += read
        if not left:
            break
        cut = _last_boundary(waiting)
        if not cut:
            asked *= 2
            continue
        yield b"[" + waiting[: cut - 1] + b"]"
        waiting = waiting[cut:]
        asked = window_bytes
    yield b"[" + waiting + b"]"


def _last_boundary(text: bytes) -> int:
    """Offset after the last comma between elements, 0 when there is none.

    Args:
        text: Begins with an element.
    """
    # Elements are often all of one kind, and the end of the last one is then found
    # by looking for the end of such a kind, many times as fast as by reading on.
    opening = text[:64].lstrip()[:1]
    closing = {b"{": b"}", b'"': b'"'}.get(opening)
    at = len(text)
    for _ in range(_GUESSES):
        at = -1 if closing is None else _comma_after(text, closing, at)
        if at < 0:
            break
        if _is_whole(text[:at]):
            return at + 1
    match = _ELEMENTS.match(text)
    return match.end() if match is not None else 0


def _comma_after(text: bytes, closing: bytes, limit: int) -> int:
    """Offset of the last comma before `limit` that follows `closing`, or -1."""
    while (limit := text.rfind(b",", 0, limit)) >= 0:
        before = text[max(limit - 8, 0) : limit].rstrip()
        if before.endswith(closing) and not before.endswith(b"\\" + closing):
            break
    return limit


def _is_whole(elements: bytes) -> bool:
    """Whether a text ends between elements.

    A cut inside a string, object or array leaves it open, so that no bracket put
    behind it can close the array.
    """
    try:
        msgspec.json.decode(b"[" + elements + b"]", type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _elements_pattern() -> re.Pattern[bytes]:
    """Elements with the comma behind each; nothing in it goes back."""
    string = rb'"(?:[^"\\]++|\\.)*+"'
    nested = rb"[^\s\S]"
    for _ in range(_NESTING):
        nested = rb'[\[{](?:[^"\[\]{}]++|' + string + rb"|" + nested + rb")*+[\]}]"
    element = rb'(?:[^"\[\]{},]++|' + string + rb"|" + nested + rb")*+"
    return re.compile(rb"(?:" + element + rb",)*+", re.DOTALL)


_ELEMENTS = _elements_pattern()
