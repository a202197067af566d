"""What is recorded lands here first: a file that is appended to, and nothing else.

Recording is one copy into the system's cache, made at once by whoever records, after
which it survives the end of the process in any form, `kill -9` included. A thread that
commits to the database instead would have to be given the interpreter by an event loop
that is busy, which took up to a second when measured, with answers paid for and not yet
kept all the while. So the database takes over a segment of the log at a time, in the
background (see `journal`).

A segment is a line that names its format, then frames: length and checksum of an
entry, and the entry. A frame cut short by a crash ends its segment. The checksum of an
outcome goes on from the one that the database keeps beside its body, so that what was
just written need not be gone over twice.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from zlib import crc32

from sutro_stream.errors import StoreError
from sutro_stream.ledger.appending import AppendedFile
from sutro_stream.ledger.database import Files, unusable
from sutro_stream.ledger.encoding import checksum, encode, encode_shared
from sutro_stream.ledger.spool import Frame
from sutro_stream.values.outcomes import Outcome

# About sixteen thousand short answers: a tenth of a second to take over.
SEGMENT_BYTES = 4 << 20
_SPARE_BYTES = 64 << 10

HEADER = b"sutro-stream ledger log 2\n"
FRAME = struct.Struct("<II")
# Index, digest, attempts, tokens in, tokens out, leader or -1, length of the kind.
RECORD = struct.Struct("<cqqqqqqB")
ASKED = struct.Struct("<cq")
SPOOLED = struct.Struct("<cqqqqq")
IS_RECORD, IS_ASKED, IS_SPOOLED = b"R", b"A", b"S"


class Log:
    """The segment being written.

    Concurrency: one event loop; nothing waits. Writing goes to the system's cache.

    Every method but `refuse` and `close` raises `StoreError` when something cannot be
    written, could not be before, or the log is closed.

    Attributes:
        number: Of the segment; those before it are complete.
    """

    def __init__(self, files: Files, number: int) -> None:
        self._files = files
        self.number = number
        self._refusal: StoreError | None = None
        self._file = self._create(number)

    @property
    def is_empty(self) -> bool:
        """Whether the segment has no entry."""
        return self._file.size <= len(HEADER)

    @property
    def is_full(self) -> bool:
        """Whether the segment has grown as large as it should."""
        return self._file.size >= SEGMENT_BYTES

    def check(self) -> None:
        """Raise when nothing can be recorded any more."""
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
        """Append a row's outcome."""
        if self._refusal is not None:
            self.check()
        error = outcome.error
        kind = b"" if error is None else error.kind.encode()
        input_tokens = output_tokens = 0
        try:
            if leader is not None:
                body = encode_shared(outcome.attempts, leader)
            else:
                body = encode(outcome)
                answer = outcome.answer
                # Without a request it was paid for by the row that had it first.
                if answer and answer.usage is not None and outcome.attempts:
                    input_tokens = answer.usage.input_tokens
                    output_tokens = answer.usage.output_tokens
            head = RECORD.pack(
                IS_RECORD,
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
        frame = FRAME.pack(
            len(head) + len(kind) + len(body),
            crc32(kind, crc32(head, checksum(index, digest, body))),
        )
        self._append(b"".join((frame, head, kind, body)))

    def asked(self, index: int) -> None:
        """Append that a request goes out."""
        if self._refusal is not None:
            self.check()
        entry = ASKED.pack(IS_ASKED, index)
        self._append(FRAME.pack(ASKED.size, crc32(entry)) + entry)

    def spooled(self, frame: Frame) -> None:
        """Append where input rows lie."""
        self.check()
        entry = SPOOLED.pack(IS_SPOOLED, *frame)
        self._append(FRAME.pack(len(entry), crc32(entry)) + entry)

    def rotate(self) -> None:
        """Begin a new segment, unless this one is empty."""
        if not self.is_empty:
            self._file.close()
            self._file = self._create(self.number + 1)
            self.number += 1

    def close(self) -> None:
        """Take nothing more; an empty segment goes."""
        self._refusal = unusable(self._files.main, "it is closed")
        with suppress(OSError):
            self._file.close()
            if self.is_empty:
                self._files.segment(self.number).unlink()

    def _create(self, number: int) -> AppendedFile:
        path = self._files.segment(number)
        try:
            # What is appended last may be longer than what makes a segment full.
            file = AppendedFile(path, room=SEGMENT_BYTES + _SPARE_BYTES)
            try:
                file.append(HEADER)
            except OSError:
                file.close()
                raise
        except OSError as error:
            raise self._failed(error) from error
        return file

    def _append(self, data: bytes) -> None:
        try:
            self._file.append(data)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> StoreError:
        reason = (error.strerror or str(error)).lower()
        self.refuse(unusable(self._files.main, reason))
        return unusable(self._files.main, reason)
