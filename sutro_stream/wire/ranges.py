"""Which part of a file a request wants, by its `Range` and `If-Range`.

A range that is not understood, and one of several parts, is the whole file: RFC 9110
allows a server to overlook the header, and nobody gets less than was asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

# More digits than any file has; Python refuses to read thousands of them.
_RANGE = re.compile(r"([0-9]{0,40})-([0-9]{0,40})")
_UNIT = "bytes="


@dataclass(frozen=True, slots=True)
class Whole:
    """All of the file: 200."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some consecutive bytes of the file: 206.

    Attributes:
        start: Position of the first, 0-based.
        stop: Position behind the last.
        size_bytes: Of the whole file.
    """

    start: int
    stop: int
    size_bytes: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def content_range(self) -> str:
        """Value of the header `Content-Range`."""
        return f"bytes {self.start}-{self.stop - 1}/{self.size_bytes}"


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """Nothing of the file lies within what was asked for: 416.

    Attributes:
        size_bytes: Of the whole file.
    """

    size_bytes: int

    @property
    def content_range(self) -> str:
        """Value of the header `Content-Range`."""
        return f"bytes */{self.size_bytes}"


Wanted: TypeAlias = Whole | Part | Unsatisfiable


def wanted_range(
    requested: str | None, if_range: str | None, *, size_bytes: int, etag: str
) -> Wanted:
    """What of a file to send.

    Args:
        requested: The header `Range`, `None` without it.
        if_range: The header `If-Range`, `None` without it; a range counts only if
            this is the file's ETag. Dates are no ETags, and neither are weak ones.
        size_bytes: Of the file.
        etag: Of the file, strong, in its quotes.
    """
    if requested is None or (if_range is not None and if_range.strip() != etag):
        return Whole()
    unit, ranges = requested.strip()[: len(_UNIT)], requested.strip()[len(_UNIT) :]
    found = _RANGE.fullmatch(ranges.strip())
    if unit.lower() != _UNIT or found is None:
        return Whole()
    first, last = found.groups()
    if not first:
        return _suffix(int(last), size_bytes) if last else Whole()
    start = int(first)
    if last and int(last) < start:
        return Whole()
    if start >= size_bytes:
        return Unsatisfiable(size_bytes)
    stop = min(int(last) + 1, size_bytes) if last else size_bytes
    return Part(start, stop, size_bytes)


def _suffix(length: int, size_bytes: int) -> Wanted:
    if not length or not size_bytes:
        return Unsatisfiable(size_bytes)
    return Part(max(size_bytes - length, 0), size_bytes, size_bytes)
