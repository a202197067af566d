"""Segments of the log read back, in portions fit for the database."""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO

import orjson

from sutro_stream.ledger.counting import Record
from sutro_stream.ledger.encoding import checksum
from sutro_stream.ledger.log import (
    FRAME,
    HEADER,
    IS_ASKED,
    IS_SPOOLED,
    RECORD,
    SPOOLED,
)
from sutro_stream.ledger.spool import Frame
from sutro_stream.ledger.statements import numbers

# Of records at a time, so that memory stays flat. Enough of them that sorting helps:
# in the order of their rows they go into the database twice as fast.
_CHUNK_ROWS = 4_096
_CHUNK_BYTES = 4 << 20

_IS_ASKED, _IS_SPOOLED = IS_ASKED[0], IS_SPOOLED[0]
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


def read_segment(file: IO[bytes]) -> Iterator[Chunk]:
    """The entries of a segment, up to the first that is not whole.

    A crash of the machine can leave zeros in place of what was written last.
    """
    data = file.read()
    at = len(HEADER) if data.startswith(HEADER) else len(data)
    chunk, size = Chunk(), 0
    # As little as can be for each entry: there are two for every row.
    unpack, crc32, width = FRAME.unpack_from, zlib.crc32, FRAME.size
    while at + width < len(data):
        length, expected = unpack(data, at)
        at += width + length
        entry = data[at - length : at]
        if not length or len(entry) < length or crc32(entry) != expected:
            break
        kind = entry[0]
        if kind == _IS_ASKED:
            (row,) = _ROW.unpack_from(entry, 1)
            (chunk.asked_after if row in chunk.records else chunk.asked).append(row)
        elif kind == _IS_SPOOLED:
            chunk.frames.append(_frame(entry))
        else:
            record = _record(entry)
            if chunk.records.setdefault(record[0], record) is record:
                size += length
                if len(chunk.records) >= _CHUNK_ROWS or size >= _CHUNK_BYTES:
                    yield chunk
                    chunk, size = Chunk(), 0
    yield chunk


def _frame(entry: bytes) -> Frame:
    _, first_index, rows, position, length, expected = SPOOLED.unpack(entry)
    return Frame(
        first_index=first_index,
        rows=rows,
        position=position,
        length=length,
        checksum=expected,
    )


def _record(entry: bytes) -> Record:
    _, row, digest, attempts, inputs, outputs, leader, size = RECORD.unpack_from(entry)
    body = entry[RECORD.size + size :]
    return Record(
        row,
        digest,
        entry[RECORD.size : RECORD.size + size].decode() if size else None,
        attempts,
        inputs,
        outputs,
        None if leader < 0 else leader,
        checksum(row, digest, body),
        body,
    )
