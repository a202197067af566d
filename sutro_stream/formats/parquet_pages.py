"""How large the pages of a Parquet file are, by the header in front of each.

A page is unpacked as a whole: its size is what memory is needed for, however few rows
are read at a time, and some KB can unpack to 2 GiB. The footer tells of whole columns
only, and may lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

_SHORT_HEADER_BYTES = 256
_LONGEST_HEADER_BYTES = 1 << 20
_DEEPEST = 8

# Kinds of pages, and the numbers of the fields that say what a page is.
_DATA, _INDEX, _DICTIONARY, _DATA_V2 = 0, 1, 2, 3
_KIND, _UNPACKED, _PACKED, _NUM_VALUES = 1, 2, 3, 1
_DETAILS = {_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}
_ENCODING = {_DATA: 2, _DICTIONARY: 2, _DATA_V2: 4}
_PREFIXED, _REFERRING = 7, (2, 8)

_Fields: TypeAlias = dict[int, Any]


class PagesError(ValueError):
    """What stands in front of a page makes no sense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of a column.

    Attributes:
        at: Of its header: 0-based position in the file.
        start: Of what is packed, behind the header.
        values: In it, null ones among them.
        unpacked_bytes: In memory.
        packed_bytes: In the file.
        is_dictionary: Whether it holds values that the data pages refer to.
        refers: Whether it is a data page that does.
        is_prefixed: Whether a value can repeat the one before it in no space.
    """

    at: int
    start: int
    values: int
    unpacked_bytes: int
    packed_bytes: int
    is_dictionary: bool
    refers: bool
    is_prefixed: bool


def pages(file: BinaryIO, column: Any) -> Iterator[Page]:
    """The pages of one column in one row group, in their order. Blocking.

    Args:
        file: Open, without a buffer; its position changes.
        column: Its metadata, a `pyarrow.parquet.ColumnChunkMetaData`.

    Raises:
        PagesError: Something else stands where a page should begin.
        OSError: The file cannot be read.
    """
    at = column.data_page_offset
    if column.has_dictionary_page:
        # 0 and -1 are written where there is none, and it may be told after the data.
        first = column.dictionary_page_offset
        at = min(at, first) if first is not None and first > 0 else at
    left = column.num_values
    while left > 0:
        header, length = _header(file, at)
        kind, packed = header.get(_KIND), header.get(_PACKED)
        unpacked = header.get(_UNPACKED)
        if not (
            isinstance(kind, int)
            and isinstance(packed, int)
            and isinstance(unpacked, int)
            and min(packed, unpacked) >= 0
        ):
            raise PagesError
        page_at, start = at, at + length
        at = start + packed
        if kind == _INDEX:
            continue
        details = header.get(_DETAILS.get(kind, 0))
        if not isinstance(details, dict):
            raise PagesError
        values = details.get(_NUM_VALUES)
        if not isinstance(values, int) or values < 0:
            raise PagesError
        is_dictionary = kind == _DICTIONARY
        left -= 0 if is_dictionary else values
        encoding = details.get(_ENCODING[kind])
        yield Page(
            at=page_at,
            start=start,
            values=values,
            unpacked_bytes=unpacked,
            packed_bytes=packed,
            is_dictionary=is_dictionary,
            refers=not is_dictionary and encoding in _REFERRING,
            is_prefixed=encoding == _PREFIXED,
        )


def _header(file: BinaryIO, at: int) -> tuple[_Fields, int]:
    """A page's header, and its length."""
    size = _SHORT_HEADER_BYTES
    while True:
        file.seek(at)
        data = file.read(size)
        scanner = _Scanner(data)
        try:
            return scanner.struct(0), scanner.at
        except IndexError:
            # Cut off: longer than most, or the file has ended.
            if len(data) < size or size >= _LONGEST_HEADER_BYTES:
                raise PagesError from None
            size *= 16


class _Scanner:
    """Reads Thrift's compact encoding as far as page headers use it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def struct(self, depth: int) -> _Fields:
        """Numbers and structs by the number of their field; others are skipped."""
        found: _Fields = {}
        number = 0
        while (head := self._byte()) != 0:
            step, kind = head >> 4, head & 0x0F
            number = number + step if step else self._number()
            found[number] = self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if depth > _DEEPEST:
            raise PagesError
        if kind in (1, 2):  # true, false
            return None
        if kind == 3:  # a byte
            return self._byte()
        if kind in (4, 5, 6):  # numbers of 16, 32 and 64 bits
            return self._number()
        if kind == 7:  # a double
            self._skip(8)
        elif kind == 8:  # text
            self._skip(self._varint())
        elif kind in (9, 10):  # a list, a set
            self._skip_list(depth)
        elif kind == 12:
            return self.struct(depth + 1)
        else:
            raise PagesError
        return None

    def _skip_list(self, depth: int) -> None:
        head = self._byte()
        count, kind = head >> 4, head & 0x0F
        count = self._varint() if count == 15 else count
        for _ in range(count):
            if kind in (1, 2):
                self._skip(1)
            else:
                self._value(kind, depth + 1)

    def _skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self._data):
            raise IndexError

    def _byte(self) -> int:
        byte = self._data[self.at]
        self.at += 1
        return byte

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise PagesError

    def _number(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
