"""Segments of the log read back, in portions fit for the database."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO
from zlib import crc32

import orjson

from sutro_stream.ledger.counting import Record
from sutro_stream.ledger.encoding import checksum
from sutro_stream.ledger.log import (
    FRAME,
    HEADER,
    IS_ASKED,
    IS_RECORD,
    RECORD,
    SPOOLED,
)
from sutro_stream.ledger.spool import Frame
from sutro_stream.ledger.statements import numbers

# Of records at a time, so that memory stays flat. Enough of them that sorting helps:
# in the order of their rows they go into the database twice as fast.
_CHUNK_ROWS = 4_096
_CHUNK_BYTES = 4 << 20

_IS_ASKED, _IS_RECORD = IS_ASKED[0], IS_RECORD[0]
_ROW = struct.Struct("<q")


@dataclass(slots=True)
class Chunk:
    """Some entries of a segment.

    Attributes:
        records: Outcomes by row; of several for a row the first.
        asked: Rows for which requests went out, as often as they did.
        asked_after: Those for which they did behind the row's outcome.
        frames: Where input rows lie.
    """

    records: dict[int, Record] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    asked_after: list[int] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)

    def count_requests(
        self, in_flight: dict[int, int], new: Mapping[int, Record]
    ) -> None:
        """Bring requests without an outcome, by row, up to date.

        Args:
            in_flight: Changed in place.
            new: Rows whose outcome counts.
        """
        for row in in_flight.keys() & new.keys():
            del in_flight[row]
        for row in [row for row in self.asked if row not in new] + self.asked_after:
            in_flight[row] = in_flight.get(row, 0) + 1

    def new_records(
        self, connection: sqlite3.Connection, *, highest: int
    ) -> dict[int, Record]:
        """Outcomes of rows that have none in the database, by row, in order.

        Args:
            connection: To the database.
            highest: Index of the last row that has one, -1 without any.
        """
        records = self.records
        # Most rows come behind all that are there.
        doubtful = [row for row in records if row <= highest]
        kept = set()
        if doubtful:
            kept = set(
                numbers(
                    connection,
                    "SELECT group_concat(idx, ' ') FROM rows"
                    " WHERE idx IN (SELECT value FROM json_each(?))",
                    (orjson.dumps(doubtful).decode(),),
                )
            )
        return {row: records[row] for row in sorted(records) if row not in kept}


def spent_before(
    connection: sqlite3.Connection, rows: Mapping[int, Record]
) -> dict[int, int]:
    """Requests spent on outcomes of these rows that do not stand, by row."""
    found = numbers(
        connection,
        "SELECT group_concat(idx || ' ' || attempts, ' ') FROM spent"
        " WHERE idx IN (SELECT value FROM json_each(?))",
        (orjson.dumps(list(rows)).decode(),),
    )
    return dict(zip(found[::2], found[1::2], strict=True))


def read_segment(file: IO[bytes], *, is_own: bool) -> Iterator[Chunk]:
    """The entries of a segment, up to the first that is not whole.

    Args:
        file: The segment.
        is_own: Whether it was written by this process, so that it is whole. What a
            crash left is checked: one of the machine can leave zeros, or parts, in
            place of what was written last.
    """
    data = file.read()
    at, end = _entries(data)
    chunk, size = Chunk(), 0
    records, asked, asked_after = chunk.records, chunk.asked, chunk.asked_after
    # As little as can be for each entry: there are two for every row.
    unpack, unpack_row, width = FRAME.unpack_from, _ROW.unpack_from, FRAME.size
    while at + width < end:
        length, expected = unpack(data, at)
        start = at + width
        at = start + length
        if not length or at > end:
            break
        kind = data[start]
        if kind == _IS_RECORD:
            record = _record(data, start, at, None if is_own else expected)
            if record is None:
                break
            if records.setdefault(record[0], record) is record:
                size += length
                if len(records) >= _CHUNK_ROWS or size >= _CHUNK_BYTES:
                    yield chunk
                    chunk, size = Chunk(), 0
                    records = chunk.records
                    asked, asked_after = chunk.asked, chunk.asked_after
        elif not is_own and crc32(data[start:at]) != expected:
            break
        elif kind == _IS_ASKED:
            (row,) = unpack_row(data, start + 1)
            (asked_after if row in records else asked).append(row)
        else:
            chunk.frames.append(_frame(data[start:at]))
    yield chunk


def _entries(data: bytes) -> tuple[int, int]:
    """Where entries begin, and the end; nothing in what is no segment."""
    return (len(HEADER) if data.startswith(HEADER) else len(data)), len(data)


def _frame(entry: bytes) -> Frame:
    _, first_index, rows, position, length, expected = SPOOLED.unpack(entry)
    return Frame(
        first_index=first_index,
        rows=rows,
        position=position,
        length=length,
        checksum=expected,
    )


def _record(data: bytes, start: int, end: int, expected: int | None) -> Record | None:
    """The outcome that lies there, `None` if it is not the one written.

    Args:
        data: The segment.
        start: First byte of the entry.
        end: Behind its last byte.
        expected: Checksum of the entry, `None` to trust it.
    """
    if end - start < RECORD.size:
        return None
    _, row, digest, attempts, inputs, outputs, leader, size = RECORD.unpack_from(
        data, start
    )
    begin = start + RECORD.size + size
    body = data[begin:end]
    known = checksum(row, digest, body)
    if expected is not None and crc32(data[start:begin], known) != expected:
        return None
    return Record(
        row,
        digest,
        data[begin - size : begin].decode() if size else None,
        attempts,
        inputs,
        outputs,
        None if leader < 0 else leader,
        known,
        body,
    )
