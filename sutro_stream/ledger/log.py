"""What is recorded lands here first: a file that is appended to, and nothing else.

Recording is one `write` into the system's cache, made at once by whoever records:
two microseconds, after which it survives the end of the process in any form,
`kill -9` included. A thread that commits to the database instead would have to be
given the interpreter by an event loop that is busy, which took up to a second when
measured, with answers paid for and not yet kept all the while. So the database
takes over a segment of the log at a time, in the background (see `journal`).

A segment is a line that names its format, then frames: length and checksum of an
entry, and the entry. A frame cut short by a crash ends its segment.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, NamedTuple, TypeAlias

from sutro_stream.errors import StoreError
from sutro_stream.ledger.database import Files, unusable
from sutro_stream.ledger.encoding import Shared, encode, encode_shared
from sutro_stream.ledger.spool import Frame
from sutro_stream.values.outcomes import Outcome

# About twelve thousand short answers: a sixth of a second to take over.
SEGMENT_BYTES = 4 << 20

_HEADER = b"sutro-stream ledger log 1\n"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC
_FRAME = struct.Struct("<II")
# Index, digest, attempts, tokens in, tokens out, leader or -1, length of the kind.
_RECORD = struct.Struct("<cqqqqqqB")
_ASKED = struct.Struct("<cq")
_SPOOLED = struct.Struct("<cqqqqq")
_IS_RECORD, _IS_ASKED, _IS_SPOOLED = b"R", b"A", b"S"


class Record(NamedTuple):
    """A row's outcome, as it will be stored.

    One is made for every row, in a third of the time that a frozen dataclass takes.

    Attributes:
        row: Its index.
        digest: Of its prompt.
        kind: Of its error, `None` when it did not fail.
        attempts: Requests sent for it.
        input_tokens: Of its answer.
        output_tokens: Of its answer.
        leader: The row whose outcome it shares, `None` when it has its own.
        body: See `encoding`.
    """

    row: int
    digest: int
    kind: str | None
    attempts: int
    input_tokens: int
    output_tokens: int
    leader: int | None
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request went out for a row.

    Attributes:
        row: Its index.
    """

    row: int


Entry: TypeAlias = Record | Asked | Frame


class Log:
    """The segment being written.

    Concurrency: one event loop; nothing waits. Writing goes to the system's cache.
    """

    def __init__(self, files: Files, number: int) -> None:
        self._files = files
        self._number = number
        self._size = 0
        self._refusal: StoreError | None = None
        self._descriptor = self._create()

    @property
    def number(self) -> int:
        """Of the segment; those before it are complete."""
        return self._number

    @property
    def is_empty(self) -> bool:
        """Whether the segment has no entry."""
        return not self._size

    @property
    def is_full(self) -> bool:
        """Whether the segment has grown as large as it should."""
        return self._size >= SEGMENT_BYTES

    def check(self) -> None:
        """Raise when nothing can be recorded any more.

        Raises:
            StoreError: Recording failed before, or the log is closed.
        """
        error = self._refusal
        if error is not None:
            # One object raised in many tasks would collect all their tracebacks.
            raise type(error)(str(error), path=error.path) from error

    def refuse(self, error: StoreError) -> None:
        """Take nothing more, for this reason unless there is one already."""
        self._refusal = self._refusal or error

    def record(
        self, index: int, digest: int, outcome: Outcome, leader: int | None
    ) -> None:
        """Append a row's outcome.

        Raises:
            StoreError: It could not be written.
        """
        error = outcome.error
        kind = b"" if error is None else error.kind.encode()
        input_tokens = output_tokens = 0
        try:
            if leader is not None:
                shared = Shared(leader=leader, attempts=outcome.attempts)
                body = encode_shared(shared)
            else:
                body = encode(outcome)
                if outcome.answer is not None and outcome.answer.usage is not None:
                    input_tokens = outcome.answer.usage.input_tokens
                    output_tokens = outcome.answer.usage.output_tokens
            head = _RECORD.pack(
                _IS_RECORD,
                index,
                digest,
                outcome.attempts,
                input_tokens,
                output_tokens,
                -1 if leader is None else leader,
                len(kind),
            )
        except (TypeError, ValueError, struct.error) as reason:
            message = f"the outcome of row {index} cannot be written ({reason})"
            raise unusable(self._files.main, message) from reason
        self._append(head + kind, body)

    def asked(self, index: int) -> None:
        """Append that a request goes out."""
        self._append(_ASKED.pack(_IS_ASKED, index))

    def spooled(self, frame: Frame) -> None:
        """Append where input rows lie."""
        self._append(
            _SPOOLED.pack(
                _IS_SPOOLED,
                frame.first_index,
                frame.rows,
                frame.position,
                frame.length,
                frame.checksum,
            )
        )

    def rotate(self) -> None:
        """Begin a new segment, unless this one is empty."""
        if self._size:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)
            self._number += 1
            self._descriptor = self._create()

    def close(self) -> None:
        """Take nothing more; an empty segment goes."""
        self._refusal = unusable(self._files.main, "it is closed")
        with suppress(OSError):
            os.close(self._descriptor)
            if not self._size:
                self._files.segment(self._number).unlink()

    def _create(self) -> int:
        path = self._files.segment(self._number)
        self._size = 0
        try:
            descriptor = os.open(path, _FLAGS | getattr(os, "O_BINARY", 0), 0o666)
            try:
                os.write(descriptor, _HEADER)
            except OSError:
                os.close(descriptor)
                raise
        except OSError as error:
            raise self._failed(error) from error
        return descriptor

    def _append(self, head: bytes, body: bytes = b"") -> None:
        if self._refusal is not None:
            self.check()
        size = len(head) + len(body)
        checksum = zlib.crc32(body, zlib.crc32(head))
        data = b"".join((_FRAME.pack(size, checksum), head, body))
        try:
            written = os.write(self._descriptor, data)
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError as error:
            self._truncate()
            raise self._failed(error) from error
        self._size += len(data)

    def _truncate(self) -> None:
        # What lies behind half a frame would not be found again.
        with suppress(OSError):
            os.ftruncate(self._descriptor, len(_HEADER) + self._size)

    def _failed(self, error: OSError) -> StoreError:
        reason = (error.strerror or str(error)).lower()
        self.refuse(unusable(self._files.main, reason))
        return unusable(self._files.main, reason)


def read_segment(file: IO[bytes]) -> Iterator[Entry]:
    """The entries of a segment, up to the first that is not whole.

    A crash of the machine can leave zeros in place of what was written last.
    """
    data = file.read()
    if not data.startswith(_HEADER):
        return
    view = memoryview(data)
    at = len(_HEADER)
    while at + _FRAME.size <= len(data):
        size, checksum = _FRAME.unpack_from(data, at)
        at += _FRAME.size
        end = at + size
        if not size or end > len(data) or zlib.crc32(view[at:end]) != checksum:
            return
        yield _entry(data, at, end)
        at = end


def _entry(data: bytes, at: int, end: int) -> Entry:
    kind = data[at]
    if kind == _IS_ASKED[0]:
        return Asked(row=_ASKED.unpack_from(data, at)[1])
    if kind == _IS_SPOOLED[0]:
        _, first_index, rows, position, length, checksum = _SPOOLED.unpack_from(
            data, at
        )
        return Frame(
            first_index=first_index,
            rows=rows,
            position=position,
            length=length,
            checksum=checksum,
        )
    fields = _RECORD.unpack_from(data, at)
    _, row, digest, attempts, input_tokens, output_tokens, leader, size = fields
    at += _RECORD.size
    return Record(
        row,
        digest,
        data[at : at + size].decode() if size else None,
        attempts,
        input_tokens,
        output_tokens,
        None if leader < 0 else leader,
        data[at + size : end],
    )
