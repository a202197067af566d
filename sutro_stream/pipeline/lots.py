"""Rows cut into lots, one for each job: by number and by size, in stream order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain

from sutro_stream.values.prompts import PromptBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Consecutive rows of one batch.

    Attributes:
        prompts: The batch.
        offsets: Their offsets within it.
        rows: JSON to send for each, `None` for a row that is refused.
    """

    prompts: PromptBatch
    offsets: range
    rows: Sequence[bytes | None]

    @property
    def first_index(self) -> int:
        """0-based position of the first row in the stream."""
        return self.prompts.first_index + self.offsets.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """Consecutive rows that become one job.

    Attributes:
        number: Counts from 0.
        parts: At least one.
    """

    number: int
    parts: Sequence[Part]

    def __len__(self) -> int:
        return sum(len(part.offsets) for part in self.parts)

    @property
    def first_index(self) -> int:
        """0-based position of the first row in the stream."""
        return self.parts[0].first_index

    def rows(self) -> list[bytes | None]:
        """JSON to send for each row, `None` for one that is refused."""
        return list(chain.from_iterable(part.rows for part in self.parts))


class Cutter:
    """Cuts a stream of rows.

    Where a lot ends depends on the rows alone, not on how they arrive: a later run
    over the same input makes the same lots.
    """

    def __init__(self, *, most_rows: int, most_bytes: int) -> None:
        """A cutter.

        Args:
            most_rows: Of a lot.
            most_bytes: Of a lot's JSON; a larger row gets a lot of its own.
        """
        self._most_rows = most_rows
        self._most_bytes = most_bytes
        self._parts: list[Part] = []
        self._rows = 0
        self._bytes = 0
        self._number = 0

    def add(self, prompts: PromptBatch, rows: Sequence[bytes | None]) -> Iterator[Lot]:
        """Take a batch; the lots that are complete with it."""
        start = 0
        while start < len(rows):
            stop = min(start + self._most_rows - self._rows, len(rows))
            size = _size_bytes(rows[start:stop])
            is_full = self._rows + stop - start == self._most_rows
            if self._bytes + size > self._most_bytes:
                stop, size = self._fitting(rows, start)
                is_full = True
            self._keep(prompts, rows, start, stop)
            self._rows += stop - start
            self._bytes += size
            start = stop
            if is_full:
                yield self._cut()

    def finish(self) -> Lot | None:
        """What is left."""
        return self._cut() if self._rows else None

    def _fitting(self, rows: Sequence[bytes | None], start: int) -> tuple[int, int]:
        """Where the rows end that still fit, and their bytes."""
        size, stop = 0, start
        while stop < len(rows):
            following = _size_bytes(rows[stop : stop + 1])
            is_first = not self._rows and stop == start
            if self._bytes + size + following > self._most_bytes and not is_first:
                break
            size += following
            stop += 1
        return stop, size

    def _keep(
        self, prompts: PromptBatch, rows: Sequence[bytes | None], start: int, stop: int
    ) -> None:
        if start < stop:
            part = Part(
                prompts=prompts, offsets=range(start, stop), rows=rows[start:stop]
            )
            self._parts.append(part)

    def _cut(self) -> Lot:
        lot = Lot(number=self._number, parts=tuple(self._parts))
        self._number += 1
        self._parts, self._rows, self._bytes = [], 0, 0
        return lot


def _size_bytes(rows: Sequence[bytes | None]) -> int:
    """Bytes of some rows with what stands between them."""
    written = rows if None not in rows else [row or b"" for row in rows]
    return len(rows) + sum(map(len, written))  # type: ignore[arg-type]


def sendable(rows: Sequence[bytes | None]) -> Sequence[int]:
    """Offsets of the rows that are not refused."""
    if None not in rows:
        return range(len(rows))
    return [offset for offset, row in enumerate(rows) if row is not None]


def row_digest(row: bytes) -> int:
    """A number of 63 bits that equal rows share and others practically never do."""
    return int.from_bytes(blake2b(row, digest_size=8).digest(), "little") >> 1


def rows_digest(rows: Sequence[bytes]) -> str:
    """A short text that tells rows apart from others."""
    return blake2b(b"\n".join(rows) + b"\n", digest_size=16).hexdigest()
