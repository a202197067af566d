"""The values of a file of JSON, wherever one ends and the next one begins."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.formats.text_stream import BrokenTextError, ByteStream, open_text
from sutro_stream.storage.stored import StoredFile, file_error

_BLOCK_BYTES = 2 << 20
_MIB = 1 << 20
_BETWEEN = " \t\r\n,"
_SPACE = re.compile(r"[\s,]*+")
_BLANK = re.compile(rb"\n[ \t\r]*+\n|\A[ \t\r]*+\n")
_LINE = re.compile(rb"[^\s][^\n]*")
# Python writes them, though they are no JSON.
_NUMBERS = {"NaN": None, "Infinity": float("inf"), "-Infinity": float("-inf")}
_PARSER = json.JSONDecoder(parse_constant=_NUMBERS.get)


@dataclass(frozen=True, slots=True)
class Value:
    """A value, and where it stands: "line 7", or "value 7" of an array."""

    place: str
    value: Any


@dataclass(frozen=True, slots=True)
class Broken:
    """What is no JSON, where it stands, and why."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """Consecutive values of a file.

    Attributes:
        lines: Whole lines, each a value unless it is blank; `None` where values are
            not lines.
        first_line: The line that they begin in, counted from 1.
        parsed: The values where they are not lines.
    """

    lines: bytes | None = None
    first_line: int = 1
    parsed: tuple[Value | Broken, ...] = ()

    def count(self) -> int:
        """Lines that are not blank, or values."""
        if self.lines is None:
            return len(self.parsed)
        ends = self.lines.count(b"\n") + (not self.lines.endswith(b"\n"))
        return (
            ends
            if _BLANK.search(self.lines) is None
            else len(_LINE.findall(self.lines))
        )

    def each(self) -> Iterator[Value | Broken]:
        """The values one by one."""
        if self.lines is None:
            yield from self.parsed
            return
        for number, line in enumerate(self.lines.split(b"\n"), self.first_line):
            if line.strip():
                yield _parsed(line, f"line {number}")


def _parsed(line: bytes, place: str) -> Value | Broken:
    # What is no text becomes lone surrogates, which its cell is known by.
    text = line.decode(errors="surrogateescape")
    try:
        return Value(place, _PARSER.decode(text))
    except json.JSONDecodeError as error:
        return Broken(place, f"not JSON: {error.msg.lower()} (column {error.colno})")
    except (RecursionError, ValueError):
        return Broken(
            place, "not JSON that can be read: nested too deeply, or too long"
        )


@contextmanager
def open_values(file: StoredFile, options: CsvOptions) -> Iterator[Iterator[Values]]:
    """All values of a file. Blocking.

    Raises:
        SourceError: It cannot be read, or a value is longer than `max_row_bytes`;
            behind the values before.
    """
    replacing = options.encoding_errors == "replace"
    with open_text(file, options.encoding, replacing=replacing) as stream:
        reading = _Reading(file, options, stream)
        yield reading.portions()


def _is_in_lines(start: bytes) -> bool:
    """Whether values are lines, as the first text of a file tells."""
    text = start.lstrip()
    if text.startswith(b"["):
        return False
    line, _, rest = text.partition(b"\n")
    if not rest.strip() or not isinstance(_parsed(line, ""), Broken):
        return True
    try:
        _PARSER.raw_decode(text.decode(errors="surrogateescape"))
    except (ValueError, RecursionError):
        # Of an object of many lines the end may not be there yet.
        return not line.rstrip().endswith((b"{", b"[", b","))
    return False


class _Reading:
    """One pass over a file."""

    def __init__(
        self, file: StoredFile, options: CsvOptions, stream: ByteStream
    ) -> None:
        self._file = file
        self._most = options.max_row_bytes
        self._stream = stream
        self._ended = False

    def portions(self) -> Iterator[Values]:
        """All of it."""
        start = self._read()
        while not (start.strip() or self._ended):
            start += self._read()
        return self._lines(start) if _is_in_lines(start) else self._others(start)

    def _read(self, size: int = _BLOCK_BYTES) -> bytes:
        try:
            data = self._stream.read(size)
        except BrokenTextError as broken:
            reason = "not all of it is text in that encoding (--encoding)"
            raise file_error(self._file, reason) from broken
        self._ended = not data
        return data

    def _lines(self, data: bytes) -> Iterator[Values]:
        line, rest = 1, b""
        while data:
            end = data.rfind(b"\n") + 1
            if end:
                block, rest = rest + data[:end], data[end:]
                yield Values(lines=block, first_line=line)
                line += block.count(b"\n")
            else:
                rest += data
            # As much again as there is: a long line is put together in linear time.
            data = self._more(len(rest), f"line {line}")
        if rest.strip():
            yield Values(lines=rest, first_line=line)

    def _more(self, size: int, place: str) -> bytes:
        if size > self._most:
            raise file_error(
                self._file,
                f"the value in {place} is longer than {self._most / _MIB:.3g} MiB "
                "(max_row_bytes)",
            )
        return self._read(max(_BLOCK_BYTES, size))

    def _others(self, start: bytes) -> Iterator[Values]:
        """Values in an array, or over several lines."""
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        text, at, number = decoder.decode(start), 0, 0
        is_array = text.lstrip().startswith("[")
        if is_array:
            at = text.index("[") + 1
        found: list[Value] = []
        while True:
            while (end := self._end(text, at)) is None and not self._ended:
                # It may be that the rest is not there yet.
                if found:
                    yield Values(parsed=tuple(found))
                    found = []
                text, at = text[at:], 0
                place = f"value {number + 1}"
                text += decoder.decode(self._more(len(text), place))
            if end is None:
                break
            value, at = end
            number += 1
            found.append(Value(f"value {number}", value))
        yield Values(parsed=tuple(found))
        rest = text[at:].lstrip(_BETWEEN)
        if rest[:1] != "]" if is_array else rest:
            reason = "is not JSON, or not whole, and no more can be read"
            raise file_error(self._file, f"value {number + 1} of the file {reason}")

    def _end(self, text: str, at: int) -> tuple[Any, int] | None:
        """The next value and where it ends, `None` where there is no whole one."""
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        if text[at : at + 1] == "]":
            self._ended = True
            return None
        try:
            value, end = _PARSER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        # Digits at the end may go on behind it.
        return (value, end) if end < len(text) or self._ended else None
