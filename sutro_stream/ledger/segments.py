"""Segments of the log read back, in portions fit for the database."""

from __future__ import annotations

import re
import sqlite3
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import orjson

from sutro_stream.ledger.counting import Record
from sutro_stream.ledger.database import Files
from sutro_stream.ledger.encoding import checksum
from sutro_stream.ledger.log import (
    FRAME,
    HEADER,
    IS_ASKED,
    IS_RECORD,
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

_IS_ASKED, _IS_RECORD = IS_ASKED[0], IS_RECORD[0]
_ROW = struct.Struct("<q")
# What the begin of an entry may be: the lengths of two kinds are known, and that of an
# outcome is below 128 MiB.
_CANDIDATE = re.compile(
    rb"(?=\x09\0\0\0....A|\x29\0\0\0....S|...[\0-\x07]....R)", re.DOTALL
)
_MOST_BYTES = 128 << 20
_MOST_ROWS = 1 << 48
_KINDS = (_IS_RECORD, _IS_ASKED, IS_SPOOLED[0])


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
        """Bring requests without an outcome, by row, up to date in place.

        Only the outcomes of the rows in `new` count.
        """
        for row in in_flight.keys() & new.keys():
            del in_flight[row]
        for row in [row for row in self.asked if row not in new] + self.asked_after:
            in_flight[row] = in_flight.get(row, 0) + 1

    def new_records(
        self,
        connection: sqlite3.Connection,
        *,
        highest: int,
        seen: Collection[int] = (),
    ) -> dict[int, Record]:
        """Outcomes of rows that have none in the database, by row, in order.

        A row that shares the outcome of one that was lost with a damaged part of the
        log is left out. `highest` is the index of the last row that the database has,
        -1 without any; `seen` are rows of earlier chunks that it has not.
        """
        records = self.records
        # Most rows come behind all that are there.
        kept = existing(connection, [row for row in records if row <= highest])
        new = {row: records[row] for row in sorted(records) if row not in kept}
        leaders = {record.leader for record in new.values()}
        leaders -= {None, *new, *seen}
        if leaders:
            leaders -= existing(connection, [*leaders])
        return {row: new[row] for row in new if new[row].leader not in leaders}


def existing(
    connection: sqlite3.Connection, rows: Sequence[int | None]
) -> frozenset[int]:
    """Those of some rows that have their outcome in the database."""
    if not rows:
        return frozenset()
    return frozenset(
        numbers(
            connection,
            "SELECT group_concat(idx, ' ') FROM rows"
            " WHERE idx IN (SELECT value FROM json_each(?))",
            (orjson.dumps(rows).decode(),),
        )
    )


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


def read_segment(
    data: bytes, *, is_own: bool, is_last: bool = False, lost: list[range]
) -> Iterator[Chunk]:
    """The entries of a segment; past a damaged part, from the next sound one on.

    Args:
        data: The segment.
        is_own: Whether it was written by this process, so that it is whole. What a
            crash left is checked: one of the machine can leave zeros, or parts, in
            place of what was written last.
        is_last: Whether it is the last one there: a crash may have cut off its end,
            which is no damage.
        lost: Gets the bytes of each damaged part.
    """
    at, end = _begin(data, lost), len(data)
    chunk, size = Chunk(), 0
    records, asked, asked_after = chunk.records, chunk.asked, chunk.asked_after
    # As little as can be for each entry: there are two for every row.
    unpack, unpack_row, width = FRAME.unpack_from, _ROW.unpack_from, FRAME.size
    while at < end:
        start = at + width
        length, expected = unpack(data, at) if start < end else (0, 0)
        stop = start + length
        record, is_sound = None, length > 0 and stop <= end
        if is_sound:
            kind = data[start]
            if kind == _IS_RECORD:
                record = _record(data, start, stop, None if is_own else expected)
                is_sound = record is not None
            elif not is_own:
                is_sound = crc32(data[start:stop]) == expected
        if not is_sound:
            at = _past_damage(data, at, is_last=is_last, lost=lost)
            continue
        at = stop
        if record is not None:
            if records.setdefault(record[0], record) is record:
                size += length
                if len(records) >= _CHUNK_ROWS or size >= _CHUNK_BYTES:
                    yield chunk
                    chunk, size = Chunk(), 0
                    records = chunk.records
                    asked, asked_after = chunk.asked, chunk.asked_after
        elif kind == _IS_ASKED:
            (row,) = unpack_row(data, start + 1)
            (asked_after if row in records else asked).append(row)
        else:
            chunk.frames.append(Frame(*SPOOLED.unpack(data[start:stop])[1:]))
    yield chunk


def _begin(data: bytes, lost: list[range]) -> int:
    """Where the first entry begins."""
    if data.startswith(HEADER):
        return len(HEADER)
    if HEADER.startswith(data.rstrip(b"\0")):
        return len(data)
    lost.append(range(at := _next_sound(data, 0)))
    return at


def _past_damage(data: bytes, at: int, *, is_last: bool, lost: list[range]) -> int:
    """Where the next sound entry begins, what lies before it noted if it is damaged."""
    following = _next_sound(data, at)
    if following < len(data) or not _is_torn(data, at, is_last=is_last):
        lost.append(range(at, following))
    return following


def _next_sound(data: bytes, at: int) -> int:
    """Where the next entry behind `at` begins that is whole; the end without one."""
    if data.count(0, at) == len(data) - at:
        return len(data)
    for found in _CANDIDATE.finditer(data, at + 1):
        begin = found.start()
        length, expected = FRAME.unpack_from(data, begin)
        start = begin + FRAME.size
        stop = start + length
        if stop <= len(data) and _is_sound(data, start, stop, expected):
            return begin
    return len(data)


def _is_sound(data: bytes, start: int, stop: int, expected: int) -> bool:
    if data[start] != _IS_RECORD:
        return crc32(data[start:stop]) == expected
    record = _record(data, start, stop, expected)
    # An answer has no bytes below a blank, so what is written in one cannot be this.
    return record is not None and 0 <= record.row < _MOST_ROWS


def _is_torn(data: bytes, at: int, *, is_last: bool) -> bool:
    """Whether what lies behind the last sound entry may be what a crash has left."""
    if data.count(0, at) == len(data) - at:
        return True
    if not is_last:
        return False
    written = data.rstrip(b"\0")
    start = at + FRAME.size
    if len(written) <= start:
        return True
    # The begin of one entry. An outcome ends with a bracket: with that it is whole.
    is_long = len(written) - start < FRAME.unpack_from(data, at)[0] <= _MOST_BYTES
    is_whole = data[start] == _IS_RECORD and written.endswith(b"]")
    return is_long and data[start] in _KINDS and not is_whole


def _record(data: bytes, start: int, end: int, expected: int | None) -> Record | None:
    """The outcome that lies there, `None` if it is not the one written.

    `expected` is the checksum of the entry, `None` to trust it.
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


def damage(files: Files, number: int, part: range) -> str:
    """Where a damaged part of a segment lies, for people."""
    return f"{files.segment(number).name}, bytes {part.start:,} to {part.stop:,}"


def missing_segments(files: Files, last: int, number: int) -> list[str]:
    """Segments between two that are not there, for people."""
    return [f"{files.segment(gap).name} is missing" for gap in range(last + 1, number)]
